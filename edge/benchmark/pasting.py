"""The benchmark's own reference: pixel-driven pasting and hole filling as PLUS defines them, in float and short. Not in the product.

PLUS keeps an 8-bit running mean that is off by 0.3 to 2.6 grey levels; this one is exact, so it flatters pasting.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
STICKS = [d for d in product((-1, 0, 1), repeat=3) if d > (0, 0, 0)]  # the 13 directions to a voxel's 26 neighbours


class Grid(NamedTuple):
    """Voxels [k, j, i] of a box; voxel (i, j, k) has its centre at spacing_mm * (first + (i, j, k)) in Reference."""

    first: NDArray[np.int64]  # (i, j, k)
    shape: tuple[int, int, int]  # [k, j, i]
    spacing_mm: float

    @classmethod
    def around(cls, points_mm: NDArray[np.float64], spacing_mm: float, margin: int = 3) -> Grid:
        """The box around points [n, 3]."""
        first = np.floor(points_mm.min(0) / spacing_mm).astype(np.int64) - margin
        last = np.ceil(points_mm.max(0) / spacing_mm).astype(np.int64) + margin
        i, j, k = (last - first + 1).tolist()
        return cls(first, (k, j, i), spacing_mm)

    def centres_mm(self, first_k: int, last_k: int) -> Floats:
        """Centres of the slices first_k to last_k - 1: float32 [k, j, i, 3]."""
        _, rows, columns = self.shape
        k, j, i = np.meshgrid(np.arange(first_k, last_k), np.arange(rows), np.arange(columns), indexing="ij")
        return ((np.stack([i, j, k], -1) + self.first) * self.spacing_mm).astype(np.float32)


class Pasted:
    """A volume into which pixels are pasted: each gives its value to the nearest voxel, or to eight around it by trilinear weight."""

    def __init__(self, grid: Grid, linear: bool) -> None:
        self._grid, self._linear = grid, linear
        self._sum = np.zeros(int(np.prod(grid.shape)), np.float64)
        self._weight = np.zeros_like(self._sum)

    def paste(self, pixels: NDArray[np.uint8], image_to_reference: NDArray[np.float64]) -> None:
        """Add one frame [axial, lateral] at its pose."""
        rows, columns = np.indices(pixels.shape).reshape(2, -1)
        plane = np.stack([columns, rows], -1) @ image_to_reference[:3, :2].T + image_to_reference[:3, 3]
        at = plane / self._grid.spacing_mm - self._grid.first
        values = pixels.ravel().astype(np.float64)
        if not self._linear:
            self._add(np.floor(at + 0.5).astype(np.int64), values, np.ones_like(values))
            return
        corner = np.floor(at).astype(np.int64)
        part = at - corner
        for offset in product((0, 1), repeat=3):
            weight = np.prod(np.where(offset, part, 1 - part), axis=1)
            self._add(corner + offset, values, weight)

    def volume(self) -> tuple[Floats, Mask]:
        """Mean values float32 [k, j, i], 0 where nothing was pasted, and where something was."""
        known = self._weight > 1e-9
        mean = np.divide(self._sum, self._weight, out=np.zeros_like(self._sum), where=known)
        return mean.astype(np.float32).reshape(self._grid.shape), known.reshape(self._grid.shape)

    def _add(self, voxel: NDArray[np.int64], values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        _, rows, columns = self._grid.shape
        flat = (voxel[:, 2] * rows + voxel[:, 1]) * columns + voxel[:, 0]
        np.add.at(self._sum, flat, values * weights)
        np.add.at(self._weight, flat, weights)


def fill_gaussian(values: Floats, known: Mask, size: int = 5, stdev: float = 1.0, ratio: float = 0.1) -> tuple[Floats, Mask]:
    """PLUS's GAUSSIAN: a hole takes the Gaussian mean of the known voxels of its cube where more than ``ratio`` of them are."""
    reach = np.arange(size) - size // 2
    gauss = np.exp(-(reach**2) / (2 * stdev**2)).astype(np.float32)
    present = known.astype(np.float32)
    total, weight = _separable(values * present, gauss), _separable(present, gauss)
    enough = ~known & (_separable(present, np.ones(size, np.float32)) > ratio * size**3 + 1e-3)
    return np.where(enough, total / np.maximum(weight, 1e-12), values).astype(np.float32), known | enough


def fill_sticks(values: Floats, known: Mask, wanted: Mask, limit: int = 9) -> tuple[Floats, Mask]:
    """PLUS's STICK 9/1 for the holes in ``wanted``: linear along the shortest stick whose two ends are known (ties: their mean)."""
    holes = np.argwhere(wanted & ~known)
    padded_values, padded_known = np.pad(values, limit), np.pad(known, limit)
    best = np.zeros(len(holes))
    total, ties = np.zeros(len(holes)), np.zeros(len(holes))
    for stick in STICKS:
        forward, ahead = _walk(padded_values, padded_known, holes + limit, np.array(stick), limit)
        reverse, behind = _walk(padded_values, padded_known, holes + limit, -np.array(stick), limit)
        length = forward + reverse
        score = np.where((forward > 0) & (reverse > 0) & (length + 1 <= limit), 1 / ((length + 1) * np.linalg.norm(stick)), 0)
        value = (ahead * reverse + behind * forward) / np.maximum(length, 1)
        better, equal = score > best + 1e-12, (np.abs(score - best) <= 1e-12) & (score > 0)
        total = np.where(better, value, total + np.where(equal, value, 0))
        ties = np.where(better, 1, ties + equal)
        best = np.maximum(best, score)
    filled, covered = values.copy(), known.copy()
    where = tuple(holes[ties > 0].T)
    filled[where], covered[where] = (total / np.maximum(ties, 1))[ties > 0], True
    return filled, covered


def _separable(volume: Floats, weights: Floats) -> Floats:
    """Weighted sum over the cube around each voxel; nothing lies outside the box."""
    for axis in range(3):
        reach = len(weights) // 2
        padded = np.pad(volume, [(reach, reach) if a == axis else (0, 0) for a in range(3)])
        length = volume.shape[axis]
        volume = sum(w * padded[(slice(None),) * axis + (slice(n, n + length),)] for n, w in enumerate(weights))
    return volume


def _walk(
    values: Floats, known: Mask, start: NDArray[np.int64], step: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """From each voxel [n, 3] to the first known one along ``step``: how many steps (0: none within reach) and its value."""
    steps, found = np.zeros(len(start), np.int64), np.zeros(len(start))
    for n in range(1, limit):
        at = tuple((start + n * step).T)
        now = known[at] & (steps == 0)
        steps[now], found[now] = n, values[at][now]
    return steps, found
