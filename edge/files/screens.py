"""Sweeps that were recorded as pictures of a screen or as a clip: images without poses, cut out of what was recorded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.files.errors import MalformedFile, NoPhysicalSpacing, UnsupportedFile
from edge.files.hints import Crop, Hints, check_crop
from edge.files.image_area import image_area
from edge.files.sweep import SweepFile
from edge.messages import Frame, Geometry

LARGEST_SIDE = 4096
Picture = tuple[int, NDArray[np.uint8]]  # time in ns, grey [rows, columns]


class ScreenSweep(SweepFile):
    """What :class:`VideoSweep` and :class:`DicomClip` share. ``crop`` is the image's place, ``spacing_mm`` its pixels' size if known.

    ``pixel_aspect``: a pixel's width to its height, as far as the file tells.
    """

    has_poses = False
    pixel_aspect = Fraction(1)
    size: tuple[int, int]  # columns and rows that were recorded
    spacing_mm: tuple[float, float] | None
    crop: Crop

    @abstractmethod
    def pictures(self) -> Iterator[Picture]:
        """All that was recorded, in order, one in memory at a time. ``MalformedFile``."""

    def settle(self, path: Path, hints: Hints, told: Crop | None, spacing_mm: tuple[float, float] | None) -> None:
        """Decide on crop and spacing: what somebody says goes before what the file tells. ``BadCrop``, ``NoImageArea``."""
        self.path = path
        width, height = self.size
        if not (2 <= width <= LARGEST_SIDE and 2 <= height <= LARGEST_SIDE):
            raise UnsupportedFile(f"{path}: images are 2 to {LARGEST_SIDE} pixels a side, these are {width} x {height}")
        wanted = hints.crop or told or Crop(0, 0, width, height)
        if wanted.detect:
            wanted = image_area((grey for _, grey in self.pictures()), str(path))
        check_crop(wanted, width, height, str(path))
        self.crop, self.spacing_mm = wanted, hints.spacing_mm or spacing_mm

    @property
    def told(self) -> dict[str, Any]:
        """For the description."""
        return {"recorded": f"{self.size[0]} x {self.size[1]}", "crop": ",".join(map(str, self.crop))}

    @property
    def geometry(self) -> Geometry:
        """Of every frame."""
        if self.spacing_mm is None:
            raise NoPhysicalSpacing(f"{self.path}: does not say how large its pixels are; give --spacing-mm (`sonosweep convert`)")
        geometry = Geometry(width=self.crop.width, height=self.crop.height, spacing_mm=self.spacing_mm)
        geometry.check()
        return geometry

    def frames(self) -> Iterator[Frame]:
        """See :class:`SweepFile`."""
        geometry, (left, top, width, height) = self.geometry, self.crop
        before_ns = -1
        for number, (at_ns, grey) in enumerate(self.pictures()):
            if grey.shape != (self.size[1], self.size[0]):
                raise MalformedFile(f"{self.path}: image {number} has another size than the first")
            at_ns = before_ns = max(at_ns, before_ns + 1)
            pixels = np.ascontiguousarray(grey[top : top + height, left : left + width])
            yield Frame(boot_id=0, sweep=0, sequence=number, timestamp_ns=at_ns, geometry=geometry, pixels=pixels)
