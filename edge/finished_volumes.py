"""What was compounded, as volumes that can be saved; and the holes that are filled before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edge.compounding import FILLED, MEASURED, Compounder
from edge.files.volumes import Volume

FILLED_BRICKS_AT_A_TIME = 2048


def finished_volumes(compounder: Compounder, metadata: Mapping[str, str], channels: Mapping[str, Mapping[str, str]]) -> dict[str, Volume]:
    """By channel name; only channels that hold a voxel. Copies: placing may go on. ``metadata`` is kept in each.

    ``channels``: what each says of itself, in the order of their numbers.
    """
    found = {}
    for channel, (name, own) in enumerate(channels.items()):
        voxels = compounder.voxel_counts(channel)
        if not any(voxels[MEASURED:]):
            continue
        dense = compounder.dense(channel)
        x, y, z = dense.origin_mm.tolist()
        numbers = {f"voxels_{state}": str(count) for state, count in voxels._asdict().items() if state != "empty"}
        told = {"channel": name, **own, **metadata, **numbers}
        found[name] = Volume(dense.intensity, (x, y, z), dense.spacing_mm, told, dense.state)
    return found


def filled(compounder: Compounder, channel: int) -> Iterator[NDArray[np.int32]]:
    """Fill the holes of a channel; then the slots of all bricks that hold a filled voxel, so many at a time."""
    if not compounder.fill_holes(channel):
        return
    slots = compounder.slots(channel)
    for first in range(0, len(slots), FILLED_BRICKS_AT_A_TIME):
        some = slots[first : first + FILLED_BRICKS_AT_A_TIME]
        changed = some[(compounder.bricks(some, channel).state == FILLED).any(axis=(1, 2, 3))]
        if len(changed):
            yield changed
