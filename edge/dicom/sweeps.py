"""Everything of one sweep as DICOM files: volumes, the live clip, pictures of the review. What cannot be written is said by name."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset

from edge.config import DicomConfig
from edge.dicom.clips import review_picture, ultrasound_clip
from edge.dicom.copies import plain_copy
from edge.dicom.errors import AcousticOutputUnknown, ExamNotDicom, NothingToWrite, SweepsApart, TransducerUnknown
from edge.dicom.exam import Exam
from edge.dicom.identifiers import sha256_of
from edge.dicom.objects import Origin, write_object
from edge.dicom.probe_facts import ProbeFacts, completed, gather
from edge.dicom.volumes import photoacoustic_image, ultrasound_volume
from edge.errors import SonosweepError
from edge.files import UnknownFile
from edge.files.names import SWEEP
from edge.files.parts import SweepInParts
from edge.files.recovery import start_of
from edge.files.volumes import Volume, is_volume, read_volume, volume_stem
from edge.sweep_state import first_image
from edge.tablet.library import Library, Record

KINDS = ("volume", "copy", "clip", "pictures")


@dataclass
class SweepFiles:
    """The files of one sweep and what is known of it."""

    record: Record
    volumes: list[Path] = field(default_factory=list)
    recording: Path | None = None
    pictures: list[Path] = field(default_factory=list)
    file_time: bool = False  # the record's time is that of a file
    study_created: str = ""

    def exam(self, *, anonymous: bool = False) -> Exam:
        """Whose it is and when it was made."""
        record = self.record
        told = (record.id, record.created, record.clock_trusted, record.exam)
        return Exam(*told, anonymous, self.file_time, clock_source=record.clock_source, study_created=self.study_created)


class Written(NamedTuple):
    """What became of a sweep: the files, and by what name each other kind was refused."""

    files: list[Path]
    refused: list[str]


def of_library(library: Library, sweep: str) -> SweepFiles:
    """A sweep of the library. ``NoSuchSweep``, ``SidecarUnreadable``."""
    files = library.files(sweep)
    recording = next((path for path in files if path.suffix == ".mcap"), None)
    pictures = [path for path in files if path.suffix == ".png"]
    found = SweepFiles(library.record(sweep), library.volume_files(sweep), recording, pictures)
    found.study_created = _study_created(library, found.exam())
    told = found.record.created and any(path.name == f"{sweep}.json" for path in files)
    return found if told else _dated(found)


def of_file(path: Path) -> SweepFiles:
    """A volume or recording by its path; of a library's sweep everything that lies with it. ``NothingToWrite`` for anything else.

    Names say little outside a library: there the content of the recording (where one lies beside the volume, else of the volume) is part
    of the sweep's id, from which its UIDs and the names of its objects follow. ``SweepsApart`` where the recording is of another sweep.
    """
    path = path.resolve()
    if not path.is_file():
        raise NothingToWrite(f"{path}: there is no such file, and no sweep of the library is called so")
    named = SWEEP.match(path.name)
    if named and (path.parent / f"{named[0]}.json").is_file():
        return of_library(Library(path.parent, path.parent), named[0])
    if path.suffix == ".mcap":
        return _identified(path.stem, [], path)
    try:
        stem = volume_stem(path)
        if is_volume(path) and not stem.endswith("-state"):
            beside = path.with_name(f"{stem}.mcap")
            if not beside.is_file():
                return _identified(stem, [path], None)
            _check_one_sweep(path, beside)
            return _identified(stem, [path], beside)
    except UnknownFile:
        pass
    raise NothingToWrite(f"{path}: is no volume (.nrrd, .mha, .nii.gz) and no recording (.mcap); make one with `sonosweep reconstruct`")


def write_sweep(
    files: SweepFiles,
    folder: Path,
    config: DicomConfig,
    *,
    kinds: tuple[str, ...] = KINDS,
    anonymous: bool = False,
    every: int = 1,
    stem: str = "",
) -> Written:
    """Each object as ``<stem>-<kind>.dcm`` in ``folder`` (``stem``: the sweep's id).

    ``NothingToWrite`` where there is nothing of the kinds asked for."""
    written = Written([], [])
    for name, made in _objects(files, config, kinds, anonymous, every):
        if isinstance(made, SonosweepError):
            written.refused.append(f"{name}: {made}")
        else:
            written.files.append(write_object(folder / f"{stem or files.record.id}-{name}.dcm", made, config.compression))
    if not written.files and not written.refused:
        raise NothingToWrite(f"sweep {files.record.id}: has nothing of {', '.join(kinds)}; rebuild its volume, or ask for other kinds")
    return written


def _objects(
    files: SweepFiles, config: DicomConfig, kinds: tuple[str, ...], anonymous: bool, every: int
) -> Iterator[tuple[str, Dataset | SonosweepError]]:
    exam, record = files.exam(anonymous=anonymous), files.record
    facts, recorded = ProbeFacts(), None
    if files.recording is not None:
        try:
            recorded = SweepInParts(files.recording)
            facts = gather(recorded.frames())
        except (SonosweepError, OSError) as wrong:
            yield "clip", wrong if isinstance(wrong, SonosweepError) else NothingToWrite(f"{files.recording}: {wrong.strerror}")
            recorded = None
    facts = completed(replace(facts, duration_s=facts.duration_s or record.duration_s), config)
    origin = Origin(record.motion, record.direction, record.direction_source)
    only_copies = "copy" in kinds and kinds != KINDS
    for path in sorted(files.volumes, key=lambda path: len(path.name)) if {"volume", "copy"} & {*kinds} else ():  # ultrasound first
        try:
            volume = read_volume(path)
        except SonosweepError as wrong:
            yield path.name, wrong
            continue
        channel, origin = volume.metadata.get("channel", "ultrasound"), _origin(volume, origin)
        make = ultrasound_volume if channel == "ultrasound" else photoacoustic_image
        known = channel == "ultrasound"  # to readers and PACS, as its own class
        if "volume" in kinds:
            made = _tried(make, volume, exam, origin, facts, config)
            known = known and not isinstance(made, AcousticOutputUnknown | TransducerUnknown)
            yield channel, made
        if "copy" in kinds and (only_copies or not known):
            yield f"{channel}-copy", _tried(plain_copy, volume, exam, origin, config)
    if "clip" in kinds and recorded is not None:
        yield "clip", _tried(ultrasound_clip, recorded.frames(), exam, facts, config, every)
    for number, path in enumerate(files.pictures if "pictures" in kinds else (), 1):
        yield f"picture-{number}", _tried(review_picture, path, exam, origin, config, number)


def _tried(make: Callable[..., Dataset], *arguments: object) -> Dataset | SonosweepError:
    try:
        return make(*arguments)
    except SonosweepError as wrong:
        return wrong


def _origin(volume: Volume, otherwise: Origin) -> Origin:
    """As the volume says; what it does not say, as the sweep's record does, but never that somebody confirmed the direction."""
    told = volume.metadata
    return Origin(told.get("motion", otherwise.motion), told.get("direction", otherwise.direction), told.get("direction_source", "unknown"))


def _identified(stem: str, volumes: list[Path], recording: Path | None) -> SweepFiles:
    """Files outside a library."""
    whole = recording or volumes[0]
    made = datetime.datetime.fromtimestamp(whole.stat().st_mtime, datetime.timezone.utc)
    record = Record(id=f"{stem}-{sha256_of(whole)[:16]}", created=made.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return _dated(SweepFiles(record, volumes, recording))


def _check_one_sweep(path: Path, recording: Path) -> None:
    """``SweepsApart`` where none of the recording's images is the one that the volume at ``path`` began with."""
    began = read_volume(path).metadata.get("sweep", "")
    try:
        found = not began or any(f"{first_image(frame):08x}" == began for frame in SweepInParts(recording).frames())
    except (SonosweepError, OSError):
        return  # what is wrong with it is said where its clip is made
    if not found:
        raise SweepsApart(f"{path.name}: the recording beside it, {recording.name}, is of another sweep; move or rename one of them")


def _study_created(library: Library, exam: Exam) -> str:
    """When the first of the library's sweeps of this study was made, the trash included; nothing where it names nobody."""
    if exam.names_nobody:
        return ""
    study, found = exam.study_uid, [exam.created]
    for known in library.known_exams():
        other = Exam(known.id, known.created, fields=known.exam)
        with suppress(ExamNotDicom):  # one without a time is the first of nothing
            if not other.names_nobody and other.study_uid == study and other.moment:
                found.append(known.created)
    return min(found)


def _dated(files: SweepFiles) -> SweepFiles:
    """With the time that its recorder wrote down; without one the record's stays, and is told as that of a file."""
    try:
        start = start_of(files.recording) if files.recording else {}
    except (SonosweepError, OSError):
        start = {}  # what is wrong with it is said where its clip is made
    files.file_time = "started" not in start
    if not files.file_time:
        files.record.created, files.record.clock_trusted = start["started"], start.get("clock_trusted") == "true"
        files.record.clock_source = start.get("clock_source", "")
    return files
