"""A tracked sequence over an N-wire phantom, read image by image: which dots are its wires, and where the tracker saw the probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.dots import Dots, find_dots
from calibration.fiducials import ORIENTATIONS, Fiducials, Orientation, find_fiducials
from calibration.phantom import Phantom
from calibration.spatial import CannotCalibrate
from edge.files import SequenceFile, open_sweep
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
    """Find the wires in every image of a PLUS sequence.

    ``spacing_mm``: about how large a pixel is; without it what the sequence says, else what the phantom's configuration says.
    ``orientation``: how the phantom stands to the image; without it, the one that explains most images. ``CannotCalibrate``.
    """
    sweep = open_sweep(path)
    if not isinstance(sweep, SequenceFile):
        raise CannotCalibrate(f"{path}: is no PLUS sequence with the transforms of a tracker; export it as .igs.mha")
    spacing = _spacing(sweep, phantom, spacing_mm)
    images = sweep.images()
    found: list[Dots] = []
    for _, pixels in zip(watched(range(sweep.image_count), sweep.image_count), images, strict=True):
        found.append(find_dots(pixels, spacing, max(float(pixels.max()), 1.0)))
    size = (pixels.shape[1], pixels.shape[0])
    ways = ORIENTATIONS if orientation is None else (orientation,)
    by_way = {way: [find_fiducials(dots, phantom, spacing, way) for dots in found] for way in ways}
    best = max(by_way, key=lambda way: sum(one is not None for one in by_way[way]))
    fiducials = [(number, one, sweep.probe_to_reference(number)) for number, one in enumerate(by_way[best]) if one is not None]
    if not fiducials:
        raise CannotCalibrate(
            f"{path}: no image shows all wires of {phantom.name or 'the phantom'} at {spacing[0]:.3g} mm a pixel (median "
            f"{np.median([len(dots.at) for dots in found]):.0f} dots of {3 * len(phantom.patterns)}); check the phantom and --spacing-mm"
        )
    return WireSweep(path, size, len(found), spacing, best, fiducials)


def _spacing(sweep: SequenceFile, phantom: Phantom, spacing_mm: float | None) -> tuple[float, float]:
    if spacing_mm is not None:
        if not 0.001 <= spacing_mm <= 10:
            raise CannotCalibrate(f"--spacing-mm {spacing_mm} is no pixel; give mm, such as 0.08")
        return spacing_mm, spacing_mm
    if (stated := sweep.stated_spacing_mm) is not None:
        return stated
    if phantom.approximate_spacing_mm:
        return phantom.approximate_spacing_mm, phantom.approximate_spacing_mm
    raise CannotCalibrate(f"{sweep.path}: nothing says how large a pixel is, not even about; give --spacing-mm")
