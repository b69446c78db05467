"""Speckle in torch: complex noise behind a 3D point spread function that widens with depth, sampled where frames lie.

Convention of edge/simulation/speckle.py: the point spread function's amplitude is exp(-x^2 / 2 s^2), s in mm; the correlation
of the intensity at a distance d is exp(-d^2 / 2 s^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edge.simulation.speckle import CELLS_PER_SD, FILTER_SD_CELLS

LINEAR_BLUR_CELLS2 = CELLS_PER_SD**2 - FILTER_SD_CELLS**2  # the variance that linear interpolation adds
MARGIN_MM = 8.0  # above and below the window, for probes that tilt and press


@dataclass(frozen=True)
class Spread:
    """Standard deviations s in mm at the focus; lateral and elevational grow as sqrt(1 + ((depth - focus) / Rayleigh length)^2)."""

    axial_mm: float
    lateral_mm: float
    elevational_mm: float
    focus_mm: float
    rayleigh_mm: float
    lateral_rayleigh_mm: float
    looks: int

    def growth(self, depth_mm: NDArray[np.floating], rayleigh_mm: float) -> NDArray[np.float64]:
        """How many times wider than at the focus, at depths [...]."""
        return np.sqrt(1 + ((depth_mm - self.focus_mm) / rayleigh_mm) ** 2)

    def elevational_at(self, depth_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Elevational s in mm at depths [...]."""
        return self.elevational_mm * self.growth(depth_mm, self.rayleigh_mm)


class SpeckleBank:
    """``spread.looks`` independent fields of unit mean power: periodic across and along the sweep, as deep as the window.

    Held as a table [cells, 2 x looks] of half floats, so that one trilinear sample of all looks is one weighted sum of 8 rows.
    """

    def __init__(self, spread: Spread, depth_mm: float, seed: int, device: str = "cpu", cells: tuple[int, int] = (176, 56)) -> None:
        self.spread, self.device = spread, torch.device(device)
        self.step_mm = tuple(s / CELLS_PER_SD for s in (spread.lateral_mm, spread.axial_mm, spread.elevational_mm))
        rows = int(np.ceil((depth_mm + 2 * MARGIN_MM) / self.step_mm[1] / 8)) * 8
        self.cells = cells[0], rows, cells[1]
        generator = torch.Generator(self.device).manual_seed(seed)
        fields = [self._field(generator) for _ in range(spread.looks)]
        table = torch.view_as_real(torch.stack(fields, -1)).reshape(-1, 2 * spread.looks)
        self._table = table.half() if self.device.type == "cpu" else table
        nx, ny = cells[0] + 1, rows + 1
        corners = [dz * ny * nx + dy * nx + dx for dz in (0, 1) for dy in (0, 1) for dx in (0, 1)]
        self._corners = torch.tensor(corners, dtype=torch.int32, device=self.device)

    def _field(self, generator: torch.Generator) -> torch.Tensor:
        """One look, complex [z + 1, y + 1, x + 1]: drawn in lateral and elevational frequency, where each depth has its own width."""
        nx, ny, nz = self.cells
        depth = np.arange(ny) * self.step_mm[1] - MARGIN_MM
        spread = self.spread
        kx, kz = (2 * (np.pi * np.fft.fftfreq(n)) ** 2 for n in (nx, nz))
        wide_x, wide_z = (
            (CELLS_PER_SD * spread.growth(depth, rayleigh)) ** 2 - LINEAR_BLUR_CELLS2
            for rayleigh in (spread.lateral_rayleigh_mm, spread.rayleigh_mm)
        )
        gain_x, gain_z = np.exp(-np.outer(wide_x, kx)), np.exp(-np.outer(wide_z, kz))
        gain_x *= (nx / np.sum(gain_x**2, 1, keepdims=True)) ** 0.5
        gain_z *= (nz / np.sum(gain_z**2, 1, keepdims=True)) ** 0.5
        gain_y = np.exp(-2 * FILTER_SD_CELLS**2 * (np.pi * np.fft.fftfreq(ny)) ** 2)
        gain_y *= (ny / np.sum(gain_y**2)) ** 0.5
        field = torch.view_as_complex(torch.randn(nz, ny, nx, 2, generator=generator, device=self.device))
        field *= self._tensor(gain_x)
        field *= self._tensor(gain_z.T[:, :, None])
        field = torch.fft.ifft2(field, dim=(0, 2), norm="ortho")
        field = torch.fft.ifft(torch.fft.fft(field, dim=1) * self._tensor(gain_y[:, None]), dim=1) * 0.5**0.5
        padded = torch.nn.functional.pad(torch.view_as_real(field).permute(3, 0, 1, 2), (0, 1, 0, 1, 0, 1), mode="circular")
        return torch.view_as_complex(padded.permute(1, 2, 3, 0).contiguous())

    def _tensor(self, values: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def power(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fresh: torch.Tensor | None = None, share: float = 0.0
    ) -> torch.Tensor:
        """Intensity, mean 1, at points [frames, ...] in mm (y: depth below the probe's face).

        ``share`` of the power comes from speckle that is new in every frame, found ``fresh`` int [frames] cells along and across.
        """
        shape = x.shape
        nx, ny, nz = self.cells
        at, weights = [], []
        for values, step_mm, count, first in zip((x, y, z), self.step_mm, self.cells, (0.0, MARGIN_MM, 0.0), strict=True):
            place = values * (1 / step_mm) + first / step_mm
            cell = place.floor()
            part = place - cell
            at.append(cell.remainder_(count).int())
            weights.append((1 - part, part))
        (x0, x1), (y0, y1), (z0, z1) = weights
        eight = torch.empty(*shape, 8, dtype=self._table.dtype, device=self.device)
        for i, pair in enumerate((y0 * z0, y1 * z0, y0 * z1, y1 * z1)):
            eight[..., 2 * i], eight[..., 2 * i + 1] = pair * x0, pair * x1  # a broadcast over 2 is nine times slower
        eight = eight.reshape(-1, 8)
        across = at[1] * (nx + 1)
        field = self._gather(at[2] * ((nx + 1) * (ny + 1)) + across + at[0], eight)
        if fresh is not None and share > 0:
            moved = fresh.reshape(-1, *[1] * (len(shape) - 1))
            ix, iz = (at[0] + moved * 37) % nx, (at[2] + moved) % nz
            field = field * (1 - share) ** 0.5 + self._gather(iz * ((nx + 1) * (ny + 1)) + across + ix, eight) * share**0.5
        return field.float().square_().mean(-1).mul_(2).reshape(shape)

    def _gather(self, corner: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        rows = corner.reshape(-1, 1) + self._corners
        return torch.nn.functional.embedding_bag(rows, self._table, per_sample_weights=weights, mode="sum")
