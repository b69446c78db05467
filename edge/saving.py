"""The files of one reconstruction: a volume per channel, and a label volume that says which voxels were not measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.compounding import INTERPOLATED
from edge.files.volumes import Volume, state_path, write_state, write_volume


def save_volumes(path: Path, volumes: dict[str, Volume]) -> tuple[str, ...]:
    """Write ``path`` for ultrasound and ``<stem>-photoacoustic`` beside it; answers the names of all files, ``path`` first.

    Where voxels were interpolated or filled, ``<stem>-state`` marks them (1 measured, 2 interpolated, 3 filled); a state file
    of an earlier volume at the same path is removed where there are none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for channel, volume in volumes.items():
        target = channel_path(path, channel)
        written.append(str(write_volume(target, volume)))
        if np.any(volume.state >= INTERPOLATED):
            written.append(str(write_state(target, volume)))
        else:
            state_path(target).unlink(missing_ok=True)
    return tuple(written)


def channel_path(path: Path, channel: str) -> Path:
    """``leg.nii.gz`` and ``photoacoustic`` to ``leg-photoacoustic.nii.gz``; the ultrasound volume has the plain name."""
    stem, dot, suffix = path.name.partition(".")
    return path if channel == "ultrasound" else path.with_name(f"{stem}-{channel}{dot}{suffix}")
