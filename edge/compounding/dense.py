"""What is made from resolved bricks whatever backend resolved them: voxel counts and one dense array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.compounding import DenseVolume, VolumeEmpty, VolumeTooLarge, VoxelCounts
from edge.compounding.native import load, pointer

if TYPE_CHECKING:
    from edge.compounding import Compounder

BATCH = 2048  # bricks resolved at a time: 2 MiB, stays in the cache
FARTHEST = np.iinfo(np.int32).max


def survey(volume: Compounder, channel: int) -> tuple[VoxelCounts, NDArray[np.int32]]:
    """Voxels by state, and [2, 3] the first and last voxel (i, j, k) that is not empty (first > last where all are)."""
    library, slots = load(), volume.slots(channel)
    tally = np.zeros(4, np.int64)
    bounds = np.repeat(np.array([[FARTHEST], [-FARTHEST]], np.int32), 3, axis=1)
    for start in range(0, len(slots), BATCH):
        bricks = volume.bricks(slots[start : start + BATCH], channel)
        library.sono_survey(pointer(bricks.coordinates), pointer(bricks.state), len(bricks.state), pointer(tally), pointer(bounds))
    return VoxelCounts(*tally.tolist()), bounds


def assemble(volume: Compounder, channel: int) -> DenseVolume:
    """See :meth:`Compounder.dense`."""
    counts, bounds = survey(volume, channel)
    if sum(counts) == counts.empty:
        raise VolumeEmpty("the volume holds no voxel yet; place frames before asking for it")
    origin, spacing = np.ascontiguousarray(bounds[0]), volume.settings.spacing_mm
    shape = bounds[1] - bounds[0] + 1
    needed = 2 * int(np.prod(shape, dtype=np.int64))
    if needed > volume.settings.memory_limit_mib << 20:
        raise VolumeTooLarge(
            f"the box around the scanned tissue is {' x '.join(map(str, shape))} voxels and needs {needed >> 20} MiB; raise "
            f"memory_limit_mib ({volume.settings.memory_limit_mib}) or spacing_mm ({spacing:g})"
        )
    library, slots = load(), volume.slots(channel)
    intensity, state = np.zeros(shape[::-1], np.uint8), np.zeros(shape[::-1], np.uint8)
    for start in range(0, len(slots), BATCH):
        bricks = volume.bricks(slots[start : start + BATCH], channel)
        for values, out in ((bricks.intensity, intensity), (bricks.state, state)):
            library.sono_scatter(pointer(bricks.coordinates), pointer(values), len(values), pointer(origin), pointer(shape), pointer(out))
    return DenseVolume(intensity, state, origin * spacing, spacing)
