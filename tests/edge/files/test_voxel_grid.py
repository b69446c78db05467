"""Volumes on a common box of voxels, against a dictionary of voxels by place."""

import numpy as np
import pytest

from edge.files.volumes import Volume
from edge.files.voxel_grid import first_voxel, on_box

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("low", [(0, 0, 0), (-3, -3, -3), (2, -1, 1), (5, 5, 5), (9, 9, 9), (-20, 0, 0)])
def test_each_voxel_keeps_its_place_and_what_is_not_there_is_0(low):
    volume = Volume(RNG.integers(1, 255, (3, 4, 5), dtype=np.uint8), (1.0, 0.5, -0.5), 0.5)
    at = first_voxel(volume)
    assert at.tolist() == [2, 1, -1]
    by_place = {(at[0] + i, at[1] + j, at[2] + k): volume.intensity[k, j, i] for k, j, i in np.ndindex(3, 4, 5)}
    box = on_box(volume.intensity, at, np.array(low), np.array((6, 5, 7)))
    assert box.shape == (7, 5, 6)
    assert all(box[k, j, i] == by_place.get((low[0] + i, low[1] + j, low[2] + k), 0) for k, j, i in np.ndindex(7, 5, 6))
