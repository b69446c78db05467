"""What was compounded, as volumes that can be saved."""

from __future__ import annotations

from collections.abc import Mapping

from edge.compounding import CHANNELS, MEASURED, Compounder
from edge.files.volumes import Volume


def finished_volumes(compounder: Compounder, metadata: Mapping[str, str]) -> dict[str, Volume]:
    """By channel name; only channels that hold a voxel. Copies: placing may go on. ``metadata`` is kept in each."""
    found = {}
    for channel, name in enumerate(CHANNELS):
        voxels = compounder.voxel_counts(channel)
        if not any(voxels[MEASURED:]):
            continue
        dense = compounder.dense(channel)
        x, y, z = dense.origin_mm.tolist()
        numbers = {f"voxels_{state}": str(count) for state, count in voxels._asdict().items() if state != "empty"}
        found[name] = Volume(dense.intensity, (x, y, z), dense.spacing_mm, {"channel": name, **metadata, **numbers}, dense.state)
    return found
