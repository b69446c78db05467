"""Two ultrasound images compared block by block: how far speckle has moved in the plane, and how much of it is still the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.compounding.image import Image
from edge.motion.resample import Resampler

SPACING_MM = 0.11  # raster of the comparison; about two pixels to a speckle's axial width
WINDOW = (464, 392)  # columns, rows: 51 x 43 mm
PATCH = 24  # pixels a side, 2.6 mm: about a hundred speckles
BACKGROUND = 17  # pixels; structure coarser than this is no speckle and is taken out
FAINTEST = 3.0  # grey values: a block that varies less is shadow, gel, or outside of the image
Floats = NDArray[np.float64]
Raster = NDArray[np.float32]


class Matches(NamedTuple):
    """One row per block: ``peak`` normalised cross-correlation (NaN where there is no speckle), ``shift_mm`` [n, 2] lateral, axial."""

    peak: Floats
    shift_mm: Floats


class Blocks:
    """The blocks of one image geometry. ``centre_mm`` [n, 2]: lateral and axial place of each from the image's centre.

    ``depth_mm`` [n]: below the image's top edge. Images of another geometry need another instance.
    """

    def __init__(self, height: int, spacing_mm: tuple[float, float], reach: tuple[int, int]) -> None:
        """``height`` of the image in rows; blocks are searched ``reach`` (columns, rows of the raster) far to each side."""
        self._resample = Resampler(*WINDOW, (SPACING_MM, SPACING_MM))
        self._spacing_mm = spacing_mm
        margin = np.array(reach)
        columns, rows = (_starts(length, edge) for length, edge in zip(WINDOW, margin, strict=True))
        self._corner = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)  # column, row of a block's first pixel
        middle = self._corner + (PATCH - 1) / 2
        below_top_mm = (middle[:, 1] + 0.5) * SPACING_MM
        self.depth_mm = below_top_mm
        lateral_mm = (middle[:, 0] - (WINDOW[0] - 1) / 2) * SPACING_MM
        self.centre_mm = np.stack([lateral_mm, below_top_mm - height * spacing_mm[1] / 2], 1)

    def raster(self, image: Image) -> Raster:
        """The image on the raster of the comparison, without its coarse structure: float32 [rows, columns]."""
        grey = np.asarray(self._resample(image, self._spacing_mm))
        return grey - _box_mean(grey, BACKGROUND)

    def match(self, now: Raster, before: Raster, reach: tuple[int, int]) -> Matches:
        """Where each block of ``now`` was in ``before``: the best of all shifts within ``reach``, to a fraction of a pixel."""
        lateral, axial = reach
        sides = 2 * axial + 1, 2 * lateral + 1
        score = np.full((len(self._corner), *sides), -1.0, np.float32)
        means, powers = (_box_sums(values) / PATCH**2 for values in (before, before * before))
        spread = np.sqrt(np.maximum(powers - means * means, 1e-6))
        faint = np.zeros(len(self._corner), np.bool_)
        for index, (column, row) in enumerate(self._corner):
            block = now[row : row + PATCH, column : column + PATCH]
            deviation = float(block.std())
            at = slice(row - axial, row + axial + 1), slice(column - lateral, column + lateral + 1)
            if deviation < FAINTEST or float(spread[row, column]) < FAINTEST:
                faint[index] = True
                continue
            region = before[row - axial : row + axial + PATCH, column - lateral : column + lateral + PATCH]
            windows = np.lib.stride_tricks.sliding_window_view(region, (PATCH, PATCH)).reshape(-1, PATCH * PATCH)
            together = (windows @ (block - block.mean()).ravel()).reshape(sides)
            score[index] = together / (PATCH**2 * deviation * spread[at])
        peak, shift = _peaks(score)
        peak[faint] = np.nan
        return Matches(peak, (shift - (lateral, axial)) * SPACING_MM)


def _starts(length: int, reach: int) -> NDArray[np.intp]:
    """First pixels of as many blocks as fit side by side with room to search."""
    room = length - 2 * reach - PATCH
    return np.asarray(np.rint(np.linspace(reach, reach + room, room // (2 * PATCH) + 1)), np.intp)


def _box_sums(values: Raster) -> Raster:
    """Sum over the block that begins at each pixel; shorter by a block than ``values``."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    np.cumsum(np.cumsum(values, 0, dtype=np.float64), 1, out=total[1:, 1:])
    n = PATCH
    return np.asarray(total[n:, n:] - total[n:, :-n] - total[:-n, n:] + total[:-n, :-n], np.float32)


def _box_mean(grey: Raster, size: int) -> Raster:
    half = size // 2
    padded = np.pad(grey, ((half + 1, half), (half + 1, half)), mode="edge")
    total = np.cumsum(np.cumsum(padded, 0, dtype=np.float64), 1)
    box = total[size:, size:] - total[size:, :-size] - total[:-size, size:] + total[:-size, :-size]
    return np.asarray(box / size**2, np.float32)


def _peaks(score: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Highest value and its place (column, row) in each map [n, rows, columns], by a parabola through its neighbours."""
    count, rows, columns = score.shape
    best = score.reshape(count, -1).argmax(1)
    row, column = best // columns, best % columns
    each = np.arange(count)
    place = np.empty((count, 2))
    for axis, (at, length) in enumerate(((column, columns), (row, rows))):
        inner = np.clip(at, 1, length - 2)
        low, middle, high = (score[each, row, inner + d] if axis == 0 else score[each, inner + d, column] for d in (-1, 0, 1))
        bend = low - 2 * middle + high
        offset = np.where(bend < -1e-6, (low - high) / (2 * np.minimum(bend, -1e-6)), 0.0)
        place[:, axis] = at + np.where(inner == at, np.clip(offset, -0.5, 0.5), 0.0)
    return score[each, row, column].astype(np.float64), place
