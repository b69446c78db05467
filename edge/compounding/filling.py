"""How holes are filled: the Gaussian's integer weights and how many known voxels a cube needs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge.compounding import BadVolumeSettings

MAX_RADIUS = 3  # voxels; the kernels' scratch memory is laid out for it
PEAK_WEIGHT = 16  # of one axis: 255 * (16 + 2 * 3 * 16)^3 stays below 2^31


def filling_plan(radius_voxels: int, min_known_ratio: float) -> tuple[int, NDArray[np.int32]]:
    """The least number of known voxels in a cube, and int32 [radius + 1] weights by distance along one axis (sigma radius / 2)."""
    if radius_voxels not in range(1, MAX_RADIUS + 1):
        raise BadVolumeSettings(f"radius_voxels is {radius_voxels!r}; it must be 1 to {MAX_RADIUS}")
    if not 0 < min_known_ratio <= 1:
        raise BadVolumeSettings(f"min_known_ratio is {min_known_ratio!r}; it must be above 0 and at most 1")
    sigma = radius_voxels / 2
    weights = [max(1, round(PEAK_WEIGHT * math.exp(-((d / sigma) ** 2) / 2))) for d in range(radius_voxels + 1)]
    return math.ceil(min_known_ratio * (2 * radius_voxels + 1) ** 3 - 1e-9), np.array(weights, np.int32)
