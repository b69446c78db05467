"""Where the ultrasound image lies in a recorded screen: where the picture moves. Menus, scales and patient data stand still."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edge.files.errors import NoImageArea
from edge.files.hints import Crop

LOOKED_AT = 60  # images
MOVED = 12  # grey levels between the darkest and the brightest that a pixel has been: more than a codec's noise
SHARE = 0.05  # of a row's or column's pixels: a clock and a cursor move less of it
GAP = 8  # rows or columns that may stand still within the image: a scale drawn across it, the black between layers
SMALLEST = 16  # pixels a side


def image_area(images: Iterable[NDArray[np.uint8]], name: str) -> Crop:
    """Of grey images [rows, columns] of one size. ``NoImageArea`` where nothing moves."""
    low = high = None
    for number, image in enumerate(images):
        if number == LOOKED_AT:
            break
        low, high = (image, image) if low is None or high is None else (np.minimum(low, image), np.maximum(high, image))
    if low is None or high is None:
        raise NoImageArea(f"{name}: holds no image")
    moves = high.astype(np.int16) - low > MOVED
    rows, columns = (0, moves.shape[0]), (0, moves.shape[1])
    for _ in range(3):  # the rows are found better within the columns, and the other way round
        rows = _band(moves[:, slice(*columns)].sum(1) / max(columns[1] - columns[0], 1))
        columns = _band(moves[slice(*rows)].sum(0) / max(rows[1] - rows[0], 1))
    crop = Crop(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])
    if min(crop.width, crop.height) < SMALLEST:
        raise NoImageArea(f"{name}: no part of the picture moves as an image does; say where it is with --crop LEFT,TOP,WIDTH,HEIGHT")
    return crop


def _band(shares: NDArray[np.float64]) -> tuple[int, int]:
    """The longest stretch of rows or columns that move, with short gaps; (0, 0) for none."""
    moving = np.flatnonzero(shares > SHARE)
    if not len(moving):
        return 0, 0
    stretches = np.split(moving, np.flatnonzero(np.diff(moving) > GAP) + 1)
    longest = max(stretches, key=lambda stretch: int(stretch[-1] - stretch[0]))
    return int(longest[0]), int(longest[-1]) + 1
