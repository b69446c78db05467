"""Random functions of position in torch, of which tissue is made: smooth waves, and fine grain.

x lateral, y depth (0 at the skin), z elevational, mm. Smooth functions are taken on every 8th point and interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

Random = np.random.Generator
COARSE = 8


@dataclass(frozen=True)
class Points:
    """Where the pixels of frames lie, and the same on a coarse raster that still reaches the edges."""

    x: Tensor
    y: Tensor
    z: Tensor

    def coarse(self) -> Points:
        """Every :data:`COARSE`-th point; sizes must be multiples of it, plus 1."""
        return Points(*(a[:, ::COARSE, ::COARSE] for a in (self.x, self.y, self.z)))


class Waves:
    """A smooth random function of unit variance: a sum of plane waves."""

    def __init__(self, random: Random, wavelengths_mm: tuple[float, float, float], count: int = 4) -> None:
        wave = random.uniform(0.6, 1.4, (count, 3)) * random.choice([-1, 1], (count, 3)) * 2 * np.pi / np.array(wavelengths_mm)
        self._waves = np.concatenate([wave, random.uniform(0, 2 * np.pi, (count, 1))], 1).tolist()

    def at(self, p: Points) -> Tensor:
        """Values [...] at the points as they are given."""
        total = torch.zeros_like(p.x)
        for kx, ky, kz, phase in self._waves:
            angle = p.x * kx + phase
            if ky:
                angle += p.y * ky
            total += (angle + p.z * kz).cos_()
        return total * (2 / len(self._waves)) ** 0.5


def fine(coarse: Tensor, like: Tensor) -> Tensor:
    """A coarse map on all points."""
    return interpolate(coarse[:, None], like.shape[1:], mode="bilinear", align_corners=True)[:, 0]


class Grain:
    """Fine structure: smooth noise of unit variance, periodic, stretched to a grain of ``sd_mm`` (x, y, z)."""

    CELLS = 48, 112, 64  # z, y, x
    SD_CELLS = 1.3

    def __init__(self, random: Random, sd_mm: tuple[float, float, float], device: torch.device | str) -> None:
        noise = np.fft.rfftn(random.standard_normal(self.CELLS, np.float32))
        for axis, count in enumerate(self.CELLS):
            k = np.fft.rfftfreq(count) if axis == 2 else np.fft.fftfreq(count)
            noise *= np.exp(-2 * (np.pi * self.SD_CELLS * k) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        smooth = np.fft.irfftn(noise, self.CELLS, axes=(0, 1, 2))
        padded = np.pad(smooth / smooth.std(), [(0, 1)] * 3, mode="wrap").astype(np.float32)
        self._volume = torch.as_tensor(padded, device=device)[None, None]
        self._per_mm = [self.SD_CELLS / sd for sd in sd_mm]
        self._offset = random.uniform(0, 100, 3).tolist()

    def at(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Values at points [...]."""
        counts = self.CELLS[::-1]
        places = [
            (a * scale + offset).remainder_(count).mul_(2 / count).sub_(1)
            for a, scale, offset, count in zip((x, y, z), self._per_mm, self._offset, counts, strict=True)
        ]
        grid = torch.stack(places, -1)[None]
        return grid_sample(self._volume, grid, align_corners=True)[0, 0]
