"""The files of one reconstruction: a volume per channel, and a label volume that says which voxels were not measured."""

from __future__ import annotations

from pathlib import Path

from edge.files.volumes import Volume, write_volume


def save_volumes(path: Path, volumes: dict[str, Volume]) -> tuple[str, ...]:
    """Write ``path`` for ultrasound and ``<stem>-photoacoustic`` beside it; answers the names of all files, ``path`` first.

    Each has ``<stem>-state`` beside it: 0 empty, 1 measured, 2 interpolated, 3 filled.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for channel, volume in volumes.items():
        written += map(str, write_volume(channel_path(path, channel), volume))
    return tuple(written)


def channel_path(path: Path, channel: str) -> Path:
    """``leg.nii.gz`` and ``photoacoustic`` to ``leg-photoacoustic.nii.gz``; the ultrasound volume has the plain name."""
    stem, dot, suffix = path.name.partition(".")
    return path if channel == "ultrasound" else path.with_name(f"{stem}-{channel}{dot}{suffix}")
