"""Volumes of one spacing on a common box of voxels: their grids are anchored at the origin of Reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.files.volumes import Volume

Grey = NDArray[np.uint8]
Index = NDArray[np.int64]


def first_voxel(volume: Volume) -> Index:
    """(i, j, k) of the first voxel, counted from the one at the origin of Reference."""
    return np.rint(np.array(volume.origin_mm) / volume.spacing_mm).astype(np.int64)


def on_box(voxels: Grey, at: Index, low: Index, size: Index) -> Grey:
    """``voxels`` [k, j, i], the first of them at (i, j, k) ``at``, on the box of ``size`` (i, j, k) from ``low`` on: 0 where none are."""
    box = np.zeros(tuple(size[::-1]), np.uint8)
    begin, end = np.maximum(at, low), np.minimum(at + voxels.shape[::-1], low + size)
    if (end > begin).all():
        box[_slices(begin - low, end - low)] = voxels[_slices(begin - at, end - at)]
    return box


def _slices(begin: Index, end: Index) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(begin[::-1], end[::-1], strict=True))
