"""How deep a bright line lies in an image: the bottom of a water tank, a taut thread, the surface of a phantom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BANDS = 24
FEWEST_BANDS = 6
STANDS_OUT = 3.0  # a band's peak over its own deviation
THICKNESS = 2  # rows to each side that are smoothed


def line_depth(pixels: NDArray[np.generic], rows: tuple[int, int] | None = None) -> float:
    """Row (sub-pixel) of the brightest line, at the middle column; NaN where no line is seen. ``rows``: where to look.

    The line may slope: in each of some bands of columns the brightest row is found, and the median of all slopes decides.
    """
    first, last = rows or (0, pixels.shape[0])
    image = pixels[first:last].astype(np.float32)
    width = image.shape[1] // BANDS
    if not width or image.shape[0] < 4 * THICKNESS + 3:
        return float("nan")
    bands = image[:, : width * BANDS].reshape(image.shape[0], BANDS, width).mean(2)
    total = np.cumsum(np.pad(bands, ((THICKNESS + 1, THICKNESS), (0, 0)), "edge"), axis=0, dtype=np.float64)
    smooth = (total[2 * THICKNESS + 1 :] - total[: -2 * THICKNESS - 1]) / (2 * THICKNESS + 1)
    at = smooth.argmax(0)
    seen = smooth.max(0) - smooth.mean(0) > STANDS_OUT * smooth.std(0)
    seen &= (at > 0) & (at < len(smooth) - 1)
    if seen.sum() < FEWEST_BANDS:
        return float("nan")
    band = np.nonzero(seen)[0]
    row = _tips(smooth, at, band)
    x = (band - (BANDS - 1) / 2) * width
    left, right = np.triu_indices(len(x), 1)
    slope = np.median((row[right] - row[left]) / (x[right] - x[left]))
    return float(first + np.median(row - slope * x))


def _tips(smooth: Floats, at: NDArray[np.intp], band: NDArray[np.intp]) -> Floats:
    """The middle of what is brighter than half of the peak, around it."""
    reach = 2 * THICKNESS + 1
    offsets = np.arange(-reach, reach + 1)
    rows = np.clip(at[band][:, None] + offsets, 0, len(smooth) - 1)
    values = smooth[rows, band[:, None]]
    weight = np.clip(values - (values.max(1, keepdims=True) + np.median(smooth[:, band], axis=0)[:, None]) / 2, 0, None)
    return np.asarray((weight * rows).sum(1) / weight.sum(1))
