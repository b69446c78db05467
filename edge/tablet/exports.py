"""Files made of a sweep in the library: other formats of the volume, the sweep with its poses, a picture. For a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edge.config import DicomConfig
from edge.files import CannotWrite, write_sweep
from edge.files.archive import write_archive
from edge.files.parts import SweepInParts
from edge.files.volumes import Volume, read_volume, write_volume
from edge.light import ULTRASOUND
from edge.picture import draw
from edge.placed_images import as_images
from edge.saving import save_volumes
from edge.tablet.library import Library, NoSuchSweep, Record
from edge.transform import Transform

Progress = Callable[[int, int], None]


def read_volumes(library: Library, sweep: str) -> dict[str, Volume]:
    """The sweep's volumes by channel name. ``NoSuchSweep`` where it has none."""
    found = {volume.metadata.get("channel", "ultrasound"): volume for volume in map(read_volume, library.volume_files(sweep))}
    if not found:
        raise NoSuchSweep(f"sweep {sweep} has no volume; it can be rebuilt from its recording")
    return found


def read_channels(library: Library, sweep: str) -> dict[int, Volume]:
    """The sweep's volumes by channel number: what they say themselves, else ultrasound 0 and light 1."""
    told = read_volumes(library, sweep).items()
    return {int(volume.metadata.get("channel_number", name != ULTRASOUND)): volume for name, volume in told}


def confirm_direction(library: Library, sweep: str) -> None:
    """Write into the volumes that the operator has confirmed their direction."""
    for path in library.volume_files(sweep):
        volume = read_volume(path)
        write_volume(path, replace(volume, metadata={**volume.metadata, "direction_source": "operator"}))


def poses_of(record: Record) -> dict[int, Transform]:
    """Sequence number to ImageToReference, from a record's path."""
    table = np.array(record.path, float).reshape(-1, 15)  # an unknown drift becomes NaN
    return {int(row[0]): Transform("Image", "Reference", np.vstack([row[3:].reshape(3, 4), (0, 0, 0, 1)])) for row in table}


def _volumes(library: Library, record: Record, path: Path) -> None:
    save_volumes(path, read_volumes(library, record.id))


def _sweep(library: Library, record: Record, path: Path) -> None:
    if record.missing_positions:
        raise CannotWrite(f"{path.name}: only {record.missing_positions} of the sweep were heard; rebuild it, then export it again")
    frames = (frame for frame in as_images(SweepInParts(library.recording(record.id)).frames()) if frame.modality == "bmode")
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
    if record.missing_positions:
        title += f"   PATH: ONLY {record.missing_positions}"
    draw(path, read_volumes(library, record.id), list(poses_of(record).values()), record.image_size, title)


def _dicom(library: Library, record: Record, stem: str, config: DicomConfig) -> list[str]:
    """Objects of every kind; what is refused is said by name, after the others are written (and queued where there is a PACS)."""
    if find_spec("pydicom") is None:
        raise CannotWrite("DICOM needs a library: pip install 'sonosweep[dicom]'")
    from edge.dicom import sweeps  # it takes half a second to import, and few exports need it
    from edge.dicom.queue import Queue

    written = sweeps.write_sweep(sweeps.of_library(library, record.id), library.volumes, config, stem=stem)
    if config.pacs_host or config.stow_url:
        queue = Queue(Path(config.folder))
        for path in written.files:
            queue.add(path)
    if written.refused:
        raise CannotWrite("; ".join(written.refused))
    return [path.name for path in written.files]


def _archive(library: Library, record: Record, path: Path) -> None:
    """All files of the sweep as they lie there, of patients nothing: the exam stays in its own file, and DICOM objects are left out."""
    files = [one for one in library.files(record.id) if one.suffix not in (".json", ".zip", ".dcm")]
    told = {"sweep": record.id, "motion": record.motion, "direction": record.direction, "direction_source": record.direction_source}
    if record.missing_positions:
        told["path"] = f"only {record.missing_positions} were heard"
    write_archive(path, files, told)


WRITERS = {"mha": _volumes, "nii.gz": _volumes, "igs.mha": _sweep, "png": _picture, "zip": _archive}


def export(library: Library, sweep: str, formats: tuple[str, ...], progress: Progress, dicom: DicomConfig | None = None) -> list[str]:
    """Write the files beside the volume, each whole or not at all; answers their names. ``nrrd`` is there already.

    ``NoSuchSweep`` where it has no volume, ``CannotWrite`` for the images of a sweep whose positions were only heard in part; else what
    reading and writing raise (``SonosweepError``, ``OSError``).
    """
    record, written = library.record(sweep), []
    channels = [path.name.removesuffix(".nrrd") for path in library.volume_files(sweep)]
    if not channels:
        raise NoSuchSweep(f"sweep {sweep} has no volume; it can be rebuilt from its recording")
    stem = min(channels, key=len)
    for done, kind in enumerate(sorted(formats, key="zip".__eq__)):  # last: it takes what the others made
        progress(done, len(formats))
        path = library.volumes / f"{stem}.{kind}"
        if kind == "dcm":
            written += _dicom(library, record, stem, dicom or DicomConfig())
        if kind in WRITERS:
            WRITERS[kind](library, record, path)
        made = [library.volumes / f"{channel}.{kind}" for channel in channels] if kind in ("nrrd", "mha", "nii.gz") else [path]
        written += [one.name for one in made if one.exists()]
    progress(len(formats), len(formats))
    return sorted(set(written))
