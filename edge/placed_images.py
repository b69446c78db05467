"""The very images that a reconstruction places, frame by frame: 8-bit, scan-converted, of one sweep, nothing placed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.compounding import VolumeSettings, open_compounder
from edge.compounding.image import Image
from edge.messages import Frame, Geometry
from edge.motion import Step
from edge.reconstructor import Reconstructor


class _Tap:
    """Sits where a source of motion sits, so that it sees the images; gives no pose, so that none is placed."""

    name, relative, backend = "tap", False, ""

    def __init__(self) -> None:
        self.image: Image | None = None

    def start(self, frame: Frame, image: Image) -> Step:
        """As every other frame: the reconstructor begins anew until a frame has a pose."""
        return self.step(frame, image, 1)

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """Keep the image."""
        self.image = image
        return Step(reason="only looked at")


def placed_images(frames: Iterable[Frame]) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """Frame and image uint8 [axial, lateral] of every frame that a reconstruction would place: repeated ones are left out.

    Frames of several sweeps come one sweep after the other. A change of geometry ends a sweep.
    """
    tap = _Tap()
    with open_compounder("host", VolumeSettings(), 1) as compounder:
        reconstructor = Reconstructor(tap, compounder, say_bricks=False)
        for frame in frames:
            tap.image = None
            reconstructor.feed(frame)
            if tap.image is not None:
                yield frame, np.asarray(tap.image)


def as_images(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Frames as a sequence file can hold them: those of a convex probe scan-converted, all others as they are."""
    for frame, image in placed_images(frames):
        if frame.geometry.kind == "linear":
            yield frame
            continue
        spacing_mm, depth_mm = frame.geometry.spacing_mm, frame.geometry.depth_mm
        geometry = Geometry(width=image.shape[1], height=image.shape[0], spacing_mm=spacing_mm, depth_mm=depth_mm)
        yield msgspec.structs.replace(frame, geometry=geometry, pixels=image, sample_range=(0.0, 255.0))
