"""Bright dots in an image: where wires that run through the image plane show. Background and speckle are smoothed away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DOT_MM = 0.35  # half width of what is smoothed to one value: about a wire's echo
BACKGROUND_MM = 3.0  # half width of what a dot must stand out of
APART_MM = 1.6  # two dots are not closer than this
EDGE_MM = 0.6  # dots at the very edge are cut, and their middle is not where it seems
LEAST_SHARE = 0.12  # of the image's largest sample: a dot is brighter than this above its surroundings
MOST_DOTS = 28


@dataclass(frozen=True)
class Dots:
    """``at`` [n, 2] (column, row) in pixels, sub-pixel; ``strength`` [n] samples above the background; brightest first."""

    at: Floats
    strength: Floats


def find_dots(pixels: NDArray[np.generic], spacing_mm: tuple[float, float], largest: float, most: int = MOST_DOTS) -> Dots:
    """The brightest dots of ``pixels`` [rows, columns]; ``spacing_mm`` (lateral, axial) may be approximate."""
    image = pixels.astype(np.float32)
    reach = [(max(1, round(mm / spacing_mm[1])), max(1, round(mm / spacing_mm[0]))) for mm in (DOT_MM, BACKGROUND_MM)]
    dots = _box(_box(image, reach[0]), reach[0])
    raised = dots - _box(image, reach[1])
    peaks = _peaks(raised, spacing_mm)
    peaks = peaks[raised[peaks[:, 0], peaks[:, 1]] > LEAST_SHARE * largest]
    order = np.argsort(-raised[peaks[:, 0], peaks[:, 1]], kind="stable")
    kept: list[tuple[float, float, float]] = []
    for row, column in peaks[order]:
        near = [np.hypot((column - c) * spacing_mm[0], (row - r) * spacing_mm[1]) < APART_MM for c, r, _ in kept]
        if not any(near) and len(kept) < most:
            centre = _centre(raised, int(row), int(column), (2 * reach[0][0] + 1, 3 * reach[0][1] + 1))
            kept.append((*centre, float(raised[row, column])))
    found = np.array(kept, np.float64).reshape(-1, 3)
    inside = np.ones(len(found), np.bool_)
    for axis, count in enumerate((image.shape[1], image.shape[0])):
        edge = EDGE_MM / spacing_mm[axis]
        inside &= (found[:, axis] >= edge) & (found[:, axis] <= count - 1 - edge)
    return Dots(found[inside, :2], found[inside, 2])


def _box(image: NDArray[np.float32], reach: tuple[int, int]) -> NDArray[np.float32]:
    """Mean over 2 reach + 1 rows and columns; beyond the edge the edge goes on."""
    for axis, half in enumerate(reach):
        width = [(0, 0), (0, 0)]
        width[axis] = (half + 1, half)
        total = np.cumsum(np.pad(image, width, "edge"), axis=axis, dtype=np.float32)  # 4,096 samples of 65,535: good to 16
        upper, lower = (
            (total[2 * half + 1 :], total[: -2 * half - 1]) if axis == 0 else (total[:, 2 * half + 1 :], total[:, : -2 * half - 1])
        )
        image = (upper - lower) * np.float32(1 / (2 * half + 1))
    return image


def _peaks(raised: NDArray[np.float32], spacing_mm: tuple[float, float]) -> NDArray[np.intp]:
    """(row, column) [n] of the largest sample of each square tile that no neighbouring tile exceeds."""
    rows, columns = (max(2, round(APART_MM / 2 / mm)) for mm in (spacing_mm[1], spacing_mm[0]))
    down, across = -(-raised.shape[0] // rows), -(-raised.shape[1] // columns)
    padded = np.pad(raised, ((0, down * rows - raised.shape[0]), (0, across * columns - raised.shape[1])), constant_values=-np.inf)
    tiles = padded.reshape(down, rows, across, columns).swapaxes(1, 2).reshape(down, across, -1)
    largest = tiles.max(-1)
    ring = np.pad(largest, 1, constant_values=-np.inf)
    around = np.max([ring[y : y + down, x : x + across] for y in range(3) for x in range(3) if (y, x) != (1, 1)], axis=0)
    tile_row, tile_column = np.nonzero(largest >= around)
    within = tiles[tile_row, tile_column].argmax(-1)
    return np.stack([tile_row * rows + within // columns, tile_column * columns + within % columns], 1)


def _centre(raised: NDArray[np.float32], row: int, column: int, reach: tuple[int, int]) -> tuple[float, float]:
    """(column, row) of the middle of what is more than half as bright as the peak, around it."""
    top, left = max(0, row - reach[0]), max(0, column - reach[1])
    part = raised[top : row + reach[0] + 1, left : column + reach[1] + 1].astype(np.float64)
    weight = np.clip(part - raised[row, column] / 2, 0, None)
    total = weight.sum()
    y, x = np.arange(part.shape[0]), np.arange(part.shape[1])
    return left + float(weight.sum(0) @ x / total), top + float(weight.sum(1) @ y / total)
