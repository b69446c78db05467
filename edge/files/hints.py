"""What somebody adds to a sweep file that does not say it: pixel size, the image's place in a screen, a calibration."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edge.errors import SonosweepError
from edge.files.probe import ProbeFile


class BadCrop(SonosweepError):
    """A crop is none, or lies outside the image."""


class Crop(NamedTuple):
    """The image's place in what was recorded, in pixels: its first column and row, and its size. All 0: to be detected."""

    left: int = 0
    top: int = 0
    width: int = 0
    height: int = 0

    @property
    def detect(self) -> bool:
        """It is to be detected."""
        return not any(self)


class Hints(NamedTuple):
    """``spacing_mm`` (lateral, axial); ``crop`` None takes the whole; ``calibration`` is TUS-REC's calib_matrix.csv."""

    plus_config: Path | None = None
    probe: ProbeFile | None = None
    spacing_mm: tuple[float, float] | None = None
    crop: Crop | None = None
    calibration: Path | None = None


def parse_crop(text: str) -> Crop:
    """``auto``, or ``LEFT,TOP,WIDTH,HEIGHT``. ``BadCrop``."""
    if text == "auto":
        return Crop()
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() and len(part) < 8 for part in parts):
        raise BadCrop(f"{text!r} is no crop: auto, or LEFT,TOP,WIDTH,HEIGHT in pixels, such as 160,60,640,480")
    crop = Crop(*map(int, parts))
    if crop.width < 2 or crop.height < 2:
        raise BadCrop(f"{text!r} leaves no image: width and height are at least 2 pixels")
    return crop


def check_crop(crop: Crop, width: int, height: int, name: str) -> None:
    """``BadCrop`` where it reaches beyond ``width`` x ``height``."""
    if crop.left + crop.width > width or crop.top + crop.height > height:
        raise BadCrop(f"{name}: --crop {','.join(map(str, crop))} reaches beyond the {width} x {height} pixels that were recorded")
