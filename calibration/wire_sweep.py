"""A tracked sequence over an N-wire phantom, read image by image: which dots are its wires, and where the tracker saw the probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.dots import Dots, find_dots
from calibration.fiducials import ORIENTATIONS, Fiducials, Orientation, find_fiducials
from calibration.phantom import PIXELS_MM, Phantom
from calibration.spatial import CannotCalibrate
from edge.files import SequenceFile, SweepFile, open_sweep
from edge.transform import Transform


@dataclass(frozen=True)
class WireSweep:
    """``fiducials``: (image number, dots by wire, ProbeToReference or None where it is not tracked).

    ``spacing_mm``: as used to find them.
    """

    path: Path
    size: tuple[int, int]
    images: int
    spacing_mm: tuple[float, float]
    orientation: Orientation
    fiducials: list[tuple[int, Fiducials, Transform | None]]

    @property
    def tracked(self) -> list[tuple[int, Fiducials, Transform]]:
        """Those with a pose."""
        return [(number, found, pose) for number, found, pose in self.fiducials if pose is not None]


def read_wire_sweep(
    path: Path,
    phantom: Phantom,
    spacing_mm: float | None = None,
    orientation: Orientation | None = None,
    watched: Callable[[Iterable[int], int], Iterable[int]] = lambda images, count: images,
) -> WireSweep:
    """Find the wires in every image of a PLUS sequence, or of a recording (which has no poses of the probe).

    ``spacing_mm``: about how large a pixel is; without it what the sequence says, else what the phantom's configuration says.
    ``orientation``: how the phantom stands to the image; without it, the one that explains most images. ``CannotCalibrate``.
    """
    sweep = open_sweep(path)
    spacing = _spacing(path, stated_spacing(sweep), phantom, spacing_mm)
    found: list[Dots] = []
    poses: list[Transform | None] = []
    size = (0, 0)
    count = sweep.frame_count or 0
    for (pixels, pose), _ in zip(_looked(sweep), watched(range(1 << 40), count), strict=False):
        size = pixels.shape[1], pixels.shape[0]
        found.append(find_dots(pixels, spacing, max(float(pixels.max()), 1.0)))
        poses.append(pose)
    ways = ORIENTATIONS if orientation is None else (orientation,)
    by_way = {way: [find_fiducials(dots, phantom, spacing, way) for dots in found] for way in ways}
    best = max(by_way, key=lambda way: sum(one is not None for one in by_way[way]))
    fiducials = [(number, one, poses[number]) for number, one in enumerate(by_way[best]) if one is not None]
    if not fiducials:
        raise CannotCalibrate(
            f"{path}: no image shows all wires of {phantom.name or 'the phantom'} at {spacing[0]:.3g} mm a pixel (median "
            f"{np.median([len(dots.at) for dots in found]):.0f} dots of {3 * len(phantom.patterns)}); check the phantom and --spacing-mm"
        )
    return WireSweep(path, size, len(found), spacing, best, fiducials)


def stated_spacing(sweep: SweepFile) -> tuple[float, float] | None:
    """(lateral, axial) mm that the sweep itself declares; None for a PLUS sequence that says 1 1."""
    return sweep.stated_spacing_mm if isinstance(sweep, SequenceFile) else sweep.geometry.spacing_mm


def _looked(sweep: SweepFile) -> Iterator[tuple[NDArray[Any], Transform | None]]:
    """Images, each with ProbeToReference; of a recording, whose poses are of the image and not of the probe, without."""
    if isinstance(sweep, SequenceFile):
        for number, pixels in enumerate(sweep.images()):
            yield (pixels if sweep.image_is_valid(number) else np.zeros_like(pixels)), sweep.probe_to_reference(number)
        return
    for frame in sweep.frames():
        if frame.geometry.kind != "linear":
            raise CannotCalibrate(
                f"{sweep.path}: comes from a convex probe and is no image yet; export it as .igs.mha after scan conversion"
            )
        if frame.modality == "bmode":
            yield frame.pixels, None


def _spacing(path: Path, stated_mm: tuple[float, float] | None, phantom: Phantom, spacing_mm: float | None) -> tuple[float, float]:
    about = spacing_mm if spacing_mm is not None else phantom.approximate_spacing_mm
    found = stated_mm if spacing_mm is None else None
    if found is None and about is not None:
        found = about, about
    if found is None:
        raise CannotCalibrate(f"{path}: nothing says how large a pixel is, not even about; give --spacing-mm")
    if not all(PIXELS_MM[0] <= one <= PIXELS_MM[1] for one in found):
        raise CannotCalibrate(f"{path}: {found[0]:g} x {found[1]:g} mm is no pixel; give --spacing-mm, such as 0.08")
    return found
