"""The files of one reconstruction: a volume per channel, and a label volume that says which voxels were not measured."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edge.files.volumes import Volume, companion_path, is_volume, state_path, write_volume
from edge.light import PHOTOACOUSTIC_NAME, ULTRASOUND


def next_volume(folder: Path, stem: str, taken: Iterable[Path]) -> Path:
    """``<stem>_<n>.nrrd``, n above all in ``folder``, in the folders within it and in ``taken``: the newest volume has the highest."""
    paths = [*folder.glob(f"{stem}_*.nrrd"), *folder.glob(f"*/{stem}_*.nrrd"), *taken]
    parts = [int(part[1]) for path in paths if (part := re.match(rf"{re.escape(stem)}_(\d+)", path.name))]
    return folder / f"{stem}_{1 + max(parts, default=-1)}.nrrd"


def save_volumes(path: Path, volumes: dict[str, Volume]) -> tuple[str, ...]:
    """Write ``path`` for ultrasound and ``<stem>-photoacoustic-850nm`` ... beside it; answers the names of all files, ``path`` first.

    Each has ``<stem>-state`` beside it: 0 empty, 1 measured, 2 interpolated, 3 filled. Volumes under these names from an earlier
    reconstruction go first, so that what lies together belongs together.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if volumes:
        _remove_earlier(path, volumes)
    written: list[str] = []
    for channel, volume in volumes.items():
        written += map(str, write_volume(channel_path(path, channel), volume))
    return tuple(written)


def channel_path(path: Path, channel: str) -> Path:
    """``leg.nii.gz`` and ``photoacoustic-850nm`` to ``leg-photoacoustic-850nm.nii.gz``; the ultrasound volume has the plain name."""
    return path if channel == ULTRASOUND else companion_path(path, channel)


def _remove_earlier(path: Path, volumes: dict[str, Volume]) -> None:
    """All companions, and the volumes of channels that are not written now. What is written is replaced whole, and not before."""
    for channel in {ULTRASOUND, *volumes, *_photoacoustic_beside(path)}:
        volume = channel_path(path, channel)
        stale = [state_path(volume)] if channel in volumes else [state_path(volume), volume]
        for one in stale:
            if is_volume(one):
                one.unlink()


def _photoacoustic_beside(path: Path) -> list[str]:
    """Channels of an earlier reconstruction under the same name, by the files that lie there."""
    stem, ending = companion_path(path, "\n").name.split("\n")
    beside = (
        one.name[len(stem) : -len(ending)] for one in path.parent.iterdir() if one.name.startswith(stem) and one.name.endswith(ending)
    )
    return [channel for name in beside if PHOTOACOUSTIC_NAME.fullmatch(channel := name.removesuffix("-state"))]
