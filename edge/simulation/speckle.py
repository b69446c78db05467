"""Speckle that decorrelates with distance: complex white noise behind a 3D point spread function, sampled at slice points.

Convention: the point spread function's amplitude is exp(-x^2 / 2 s^2) along each axis, s in mm. The field's correlation at a
distance d is then exp(-d^2 / 4 s^2), and that of its intensity (its square) exp(-d^2 / 2 s^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError

CELLS_PER_SD = 2.0
# Linear interpolation is itself a blur of variance 1/6 cell^2: the filter is made narrower by as much, which brings the
# measured correlation from 0.626 to within 0.01 of the law's 0.607 at a distance of one standard deviation.
FILTER_SD_CELLS = (CELLS_PER_SD**2 - 1 / 6) ** 0.5
AXES = ("lateral", "axial", "elevational")


class BadSpeckle(SonosweepError):
    """A point spread function or a number of looks that no speckle field can be made of."""


@dataclass(frozen=True)
class PointSpread:
    """Amplitude standard deviations s of the Gaussian point spread function, mm, along the axes of Reference."""

    lateral_mm: float = 0.30
    axial_mm: float = 0.15
    elevational_mm: float = 1.1

    def __post_init__(self) -> None:
        for axis, sd_mm in zip(AXES, self.sd_mm, strict=True):
            if not (np.isfinite(sd_mm) and sd_mm > 0):
                raise BadSpeckle(f"the {axis} width of the point spread function is {sd_mm} mm; give a length above 0")

    @property
    def sd_mm(self) -> tuple[float, float, float]:
        """Lateral (x), axial (y), elevational (z)."""
        return self.lateral_mm, self.axial_mm, self.elevational_mm


class SpeckleField:
    """Periodic complex Gaussian fields, one per look, of unit mean power everywhere.

    ``cells`` counts grid cells per period along x, y, z; the period in mm is :attr:`period_mm`. Memory: 8 bytes x looks x cells.
    """

    def __init__(self, spread: PointSpread, seed: int, looks: int = 1, cells: tuple[int, int, int] = (192, 288, 54)) -> None:
        if looks < 1:
            raise BadSpeckle(f"{looks} looks cannot be averaged; give 1 (fully developed speckle) or more")
        self.spread, self.looks, self.cells = spread, looks, cells
        self.step_mm = np.array(spread.sd_mm) / CELLS_PER_SD
        self.period_mm = self.step_mm * cells
        self._neighbour = float(np.exp(-1 / (4 * FILTER_SD_CELLS**2)))
        random = np.random.default_rng([seed, 0x5BEC])
        columns, rows, planes = (n + 1 for n in cells)
        field = np.empty((planes, rows, columns, looks), np.complex64)
        for look in range(looks):
            field[:-1, :-1, :-1, look] = _filtered_noise(cells, random)
        field[-1] = field[0]  # one cell more at each end: a sample's upper neighbour needs no wrapping
        field[:, -1] = field[:, 0]
        field[:, :, -1] = field[:, :, 0]
        self._field = field.reshape(-1, looks)

    def amplitude(self, points_mm: NDArray[np.floating]) -> NDArray[np.complex64]:
        """The complex field at points [..., 3] in Reference mm: complex64 [..., looks], trilinear, of unit mean power."""
        flat = np.asarray(points_mm, np.float32).reshape(-1, 3).T
        _, ny, nx = (n + 1 for n in reversed(self.cells))
        strides = (1, nx, nx * ny)
        corner = np.zeros(flat.shape[1], np.int32)
        low: list[NDArray[np.float32]] = []
        high: list[NDArray[np.float32]] = []
        for values, step_mm, cells, stride in zip(flat, self.step_mm, self.cells, strides, strict=True):
            at = values * np.float32(1 / step_mm)
            cell = np.floor(at)
            at -= cell
            corner += cell.astype(np.int32) % np.int32(cells) * np.int32(stride)
            # a mean of correlated neighbours has less power than they: divided out, so that no grid shows
            gain = 1 / np.sqrt(1 - (2 * (1 - self._neighbour)) * at * (1 - at))
            low.append((1 - at) * gain)
            high.append(at * gain)
        total = np.zeros((corner.size, self.looks), np.complex64)
        for dz, wz in ((0, low[2]), (strides[2], high[2])):
            for dy, wy in ((0, low[1]), (strides[1], high[1])):
                wyz = wy * wz
                for dx, wx in ((0, low[0]), (1, high[0])):
                    total += self._field[corner + np.int32(dx + dy + dz)] * (wx * wyz)[:, None]
        return total.reshape(*np.shape(points_mm)[:-1], self.looks)

    def power(self, points_mm: NDArray[np.floating]) -> NDArray[np.float32]:
        """The intensity at points [..., 3] in Reference mm, averaged over the looks: float32 [...], mean 1."""
        field = self.amplitude(points_mm)
        parts = field.view(np.float32)
        return np.asarray(np.einsum("...k,...k->...", parts, parts) * np.float32(1 / self.looks))


def _filtered_noise(cells: tuple[int, int, int], random: np.random.Generator) -> NDArray[np.complex64]:
    """Complex noise [z, y, x] behind the Gaussian, unit mean power. White noise is white in frequency, so it is drawn there."""
    shape = cells[::-1]
    spectrum = random.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]
    power = 1.0
    for axis, count in enumerate(shape):
        gain = np.exp(-2 * (np.pi * FILTER_SD_CELLS * np.fft.fftfreq(count)) ** 2)
        power *= float(np.sum(gain**2))
        spectrum *= gain.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    scale = spectrum.size / np.sqrt(2 * power)
    return np.asarray(np.fft.ifftn(spectrum) * scale, np.complex64)
