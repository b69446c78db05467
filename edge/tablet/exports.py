"""Files made of a sweep in the library: other formats of the volume, the sweep with its poses, a picture. For a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.files import open_sweep, write_sweep
from edge.files.archive import write_archive
from edge.files.volumes import Volume, read_volume, write_volume
from edge.picture import draw
from edge.placed_images import as_images
from edge.saving import channel_path, save_volumes
from edge.tablet.library import Library, NoSuchSweep, Record
from edge.transform import Transform

Progress = Callable[[int, int], None]


def read_volumes(library: Library, sweep: str) -> dict[str, Volume]:
    """The sweep's volumes by channel name. ``NoSuchSweep`` where it has none."""
    found = {volume.metadata.get("channel", "ultrasound"): volume for volume in map(read_volume, library.volume_files(sweep))}
    if not found:
        raise NoSuchSweep(f"sweep {sweep} has no volume; it can be rebuilt from its recording")
    return found


def confirm_direction(library: Library, sweep: str) -> None:
    """Write into the volumes that the operator has confirmed their direction."""
    for path in library.volume_files(sweep):
        volume = read_volume(path)
        write_volume(path, replace(volume, metadata={**volume.metadata, "direction_source": "operator"}))


def poses_of(record: Record) -> dict[int, Transform]:
    """Sequence number to ImageToReference, from a record's path."""
    return {
        int(sequence): Transform("Image", "Reference", np.vstack([np.reshape(rows, (3, 4)), (0, 0, 0, 1)]))
        for sequence, _, _, *rows in record.path
    }


def _volumes(library: Library, record: Record, path: Path) -> None:
    save_volumes(path, read_volumes(library, record.id))


def _sweep(library: Library, record: Record, path: Path) -> None:
    frames = (frame for frame in as_images(open_sweep(library.recording(record.id)).frames()) if frame.modality == "bmode")
    write_sweep(
        path,
        frames,
        poses=poses_of(record),
        pose_source=record.motion,
        direction=record.direction,
        direction_source=record.direction_source,
    )


def _picture(library: Library, record: Record, path: Path) -> None:
    title = f"{record.id}   motion: {record.motion}, direction: {record.direction} ({record.direction_source})"
    draw(path, read_volumes(library, record.id), list(poses_of(record).values()), record.image_size, title)


def _archive(library: Library, record: Record, path: Path) -> None:
    """All files of the sweep as they lie there, of patients nothing: what is known of the exam stays in its own file."""
    files = [one for one in library.files(record.id) if one.suffix not in (".json", ".zip")]
    told = {"sweep": record.id, "motion": record.motion, "direction": record.direction, "direction_source": record.direction_source}
    write_archive(path, files, told)


WRITERS = {"mha": _volumes, "nii.gz": _volumes, "igs.mha": _sweep, "png": _picture, "zip": _archive}


def export(library: Library, sweep: str, formats: tuple[str, ...], progress: Progress) -> list[str]:
    """Write the files beside the volume, each whole or not at all; answers their names. ``nrrd`` is there already."""
    record, written = library.record(sweep), []
    stem = library.volume_files(sweep)[0].name.removesuffix(".nrrd")
    for done, kind in enumerate(sorted(formats, key="zip".__eq__)):  # last: it takes what the others made
        progress(done, len(formats))
        path = library.volumes / f"{stem}.{kind}"
        if kind in WRITERS:
            WRITERS[kind](library, record, path)
        written += [
            one.name for one in (path, channel_path(path, "photoacoustic") if kind in ("nrrd", "mha", "nii.gz") else path) if one.exists()
        ]
    progress(len(formats), len(formats))
    return sorted(set(written))
