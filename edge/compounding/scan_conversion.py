"""From the beams of a convex or sector probe to an image: the look-up of :meth:`Compounder.image`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.compounding import MAX_IMAGE
from edge.compounding.image import LookUp
from edge.errors import SonosweepError


class BadSector(SonosweepError):
    """A sector's radii, angles or sample counts make no image."""


@dataclass(frozen=True)
class Sector:
    """The fan that a probe scans. Beams are columns from ``angle_start_deg`` to ``angle_stop_deg``, both included; samples are
    rows from ``radius_start_mm`` to ``radius_stop_mm``, both included. Angle 0 is straight down, positive towards +lateral.
    Radii are measured from the point where the beams meet. Angles lie within 90 degrees.
    """

    beams: int
    samples: int
    radius_start_mm: float
    radius_stop_mm: float
    angle_start_deg: float
    angle_stop_deg: float

    def __post_init__(self) -> None:
        if not (2 <= self.beams <= MAX_IMAGE and 2 <= self.samples <= MAX_IMAGE):
            raise BadSector(f"a sector of {self.beams} beams and {self.samples} samples; both must be 2 to {MAX_IMAGE}")
        if not (math.isfinite(self.radius_stop_mm) and 0 <= self.radius_start_mm < self.radius_stop_mm):
            raise BadSector(
                f"radii from {self.radius_start_mm} to {self.radius_stop_mm} mm; the start must be 0 or more and below the stop"
            )
        angles = (self.angle_start_deg, self.angle_stop_deg)
        if not (all(-90 <= angle <= 90 for angle in angles) and angles[0] != angles[1]):
            raise BadSector(f"angles from {angles[0]} to {angles[1]} degrees; they must differ and lie between -90 and 90")


@dataclass(frozen=True, eq=False)
class ScanTable:
    """Where each pixel of the converted image [height, width] finds its value among the samples [samples, beams].

    The image is symmetric about the axis of the fan: column c lies at lateral x = (c - (width - 1) / 2) * spacing_mm and row r
    at depth z = z_top_mm + r * spacing_mm below the point where the beams meet, with

    * z_top_mm = radius_start_mm * cos(max |angle|), and z_bottom_mm = radius_stop_mm (radius_stop_mm * cos(min |angle|) where
      the fan does not contain angle 0), height = floor((z_bottom_mm - z_top_mm) / spacing_mm + 1e-9) + 1;
    * width = 2 * floor(radius_stop_mm * sin(max |angle|) / spacing_mm + 1e-9) + 1, always odd.

    ``index`` int32: the sample above and left of the pixel, flat, -1 outside the fan. ``fraction_lateral`` and
    ``fraction_axial`` uint8: 1/256 of the way to the next beam and sample, rounded and at most 255. ``valid`` uint8: 1 inside.
    """

    sector: Sector
    spacing_mm: float
    index: NDArray[np.int32] = field(init=False)
    fraction_lateral: NDArray[np.uint8] = field(init=False)
    fraction_axial: NDArray[np.uint8] = field(init=False)
    valid: NDArray[np.uint8] = field(init=False)
    z_top_mm: float = field(init=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.spacing_mm) and self.spacing_mm > 0):
            raise BadSector(f"spacing_mm is {self.spacing_mm!r}; it must be above 0")
        width, height, z_top_mm = extent(self.sector, self.spacing_mm)
        if max(width, height) > MAX_IMAGE or min(width, height) < 2:
            raise BadSector(f"the converted image would be {width} x {height} pixels; choose another spacing_mm")
        x = (np.arange(width, dtype=np.float64) - (width - 1) / 2) * self.spacing_mm
        z = z_top_mm + np.arange(height, dtype=np.float64) * self.spacing_mm
        index, fx, fy = _look_up(self.sector, x, z)
        for name, value in (("index", index), ("fraction_lateral", fx), ("fraction_axial", fy), ("z_top_mm", z_top_mm)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "valid", (index >= 0).astype(np.uint8))
        for array in (*self.look_up, self.valid):
            array.setflags(write=False)  # so that a device need not be sent them twice

    @property
    def look_up(self) -> LookUp:
        """What :meth:`Compounder.image` takes."""
        return self.index, self.fraction_lateral, self.fraction_axial


def extent(sector: Sector, spacing_mm: float) -> tuple[int, int, float]:
    """Width and height of the image in pixels, and the depth (mm) of its first row below the point where the beams meet."""
    angles = np.radians(sorted((sector.angle_start_deg, sector.angle_stop_deg)))
    widest = float(np.abs(angles).max())
    narrowest = 0.0 if angles[0] <= 0 <= angles[1] else float(np.abs(angles).min())
    z_top_mm = sector.radius_start_mm * math.cos(widest)
    height = math.floor((sector.radius_stop_mm * math.cos(narrowest) - z_top_mm) / spacing_mm + 1e-9) + 1
    width = 2 * math.floor(sector.radius_stop_mm * math.sin(widest) / spacing_mm + 1e-9) + 1
    return width, height, z_top_mm


def _look_up(
    sector: Sector, x: NDArray[np.float64], z: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Index and fractions for lateral ``x`` [width] and depth ``z`` [height] in mm."""
    radius = np.hypot(x[None, :], z[:, None])
    angle = np.degrees(np.arctan2(x[None, :], z[:, None]))
    beam = (angle - sector.angle_start_deg) / (sector.angle_stop_deg - sector.angle_start_deg) * (sector.beams - 1)
    sample = (radius - sector.radius_start_mm) / (sector.radius_stop_mm - sector.radius_start_mm) * (sector.samples - 1)
    near = 1e-9  # of a sample: pixels that lie on the fan's edge are inside
    inside = (beam >= -near) & (beam <= sector.beams - 1 + near) & (sample >= -near) & (sample <= sector.samples - 1 + near)
    column = np.clip(np.floor(beam), 0, sector.beams - 2)
    row = np.clip(np.floor(sample), 0, sector.samples - 2)
    fx, fy = (np.clip(np.round((at - low) * 256), 0, 255).astype(np.uint8) for at, low in ((beam, column), (sample, row)))
    return np.where(inside, row * sector.beams + column, -1).astype(np.int32), fx, fy
