"""The sweeps on the disk: recording, volumes, and what is known of each, under one name. Nothing leaves but by ``purge``.

A sweep's files begin with its id, ``sweep_<boot>_<number>``: recordings and the sidecar ``<id>.json`` in the recordings' folder, volumes in
theirs. A sweep without a sidecar (the power went) is listed all the same, as not saved.
"""

from __future__ import annotations

import datetime
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.atomic import make_folder, replacing, sync_folder
from edge.errors import SonosweepError
from edge.files.names import SWEEP

TRASH = "trash"
SIDECAR_BYTES = 16 << 20
FILE = re.compile(
    rf"(?P<id>{SWEEP.pattern})(?P<part>_\d+)?(?P<what>-[a-z0-9-]+)?\.(?P<kind>mcap|nrrd|mha|nii\.gz|igs\.mha|png|mp4|webm|dcm|json|zip|mcap\.damaged)"
)
State = Literal["unsaved", "saved", "discarded"]


class NoSuchSweep(SonosweepError):
    """The library holds no sweep, or no file, of this name."""


class WrongState(SonosweepError):
    """A sweep cannot be saved, discarded, restored or purged as it is now."""


class SidecarUnreadable(SonosweepError):
    """What is known of a sweep cannot be read; its recording and volumes are not touched by that."""


class Record(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is known of a sweep. ``path`` [n][14]: sequence, drift (mm), bridged, rows of ImageToReference as in docs/tablet-link.md."""

    format: Literal[1] = 1
    id: str
    state: State = "unsaved"
    fetched: bool = False  # a tablet has its recording or volume: only such a sweep may ever go by itself
    created: str = ""
    clock_trusted: bool = False
    clock_source: str = ""  # network, tablet NAME, or nobody
    exam: dict[str, str] = {}
    frames: int = 0
    length_mm: float = 0.0
    duration_s: float = 0.0
    direction: str = ""
    direction_source: str = "unknown"
    motion: str = ""
    drift_mm: float | None = 0.0  # None where nobody knows how far off a step may be
    spacing_mm: float = 0.0
    channels: tuple[str, ...] = ()
    ended: str = ""
    measures: list[dict[str, Any]] = []
    image_size: tuple[int, int] = (0, 0)
    path: list[tuple[float | None, ...]] = []

    @property
    def missing_positions(self) -> str:
        """``2 of 4 positions`` of a sweep whose path was only heard in part; nothing where it is whole."""
        return f"{len(self.path)} of {self.frames} positions" if len(self.path) < self.frames else ""


class KnownExam(msgspec.Struct, kw_only=True):
    """What a sidecar says of whose sweep it is and when it was made; the rest is not looked at."""

    id: str
    created: str = ""
    exam: dict[str, str] = {}


class Library:
    """Sweeps in ``recordings`` and ``volumes`` (which may be one folder)."""

    def __init__(self, recordings: Path, volumes: Path) -> None:
        self.recordings, self.volumes = recordings, volumes
        self.lock = threading.RLock()  # what is read, changed and written again belongs to one at a time
        for folder in self._folders():
            make_folder(folder / TRASH)

    def ids(self) -> list[str]:
        """All sweeps, those in the trash too; the newest first."""
        newest: dict[str, float] = {}
        for path, match in self._all():
            if (facts := _facts(path)) is not None:
                newest[match["id"]] = max(facts.st_mtime, newest.get(match["id"], 0.0))
        return sorted(newest, key=lambda one: (newest[one], one), reverse=True)

    def record(self, sweep: str) -> Record:
        """What is known of it. ``NoSuchSweep``, ``SidecarUnreadable``."""
        files = self.files(sweep)
        found = next((path for path in files if path.name == f"{sweep}.json"), None)
        if found is None:
            made = min((facts.st_mtime for path in files if (facts := _facts(path)) is not None), default=0.0)
            created = datetime.datetime.fromtimestamp(made, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            known = Record(id=sweep, created=created)
        else:
            try:
                known = msgspec.json.decode(found.read_bytes()[:SIDECAR_BYTES], type=Record)
            except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
                raise SidecarUnreadable(f"{found.name}: {wrong}; the recording is whole, move this file away to list it anew") from wrong
        if all(path.parent.name == TRASH for path in files):
            known.state = "discarded"
        return known

    def known(self, sweep: str) -> Record | None:
        """What was written down of it; None where nothing was. ``SidecarUnreadable``."""
        places = (self.recordings / f"{sweep}.json", self.recordings / TRASH / f"{sweep}.json")
        return self.record(sweep) if any(path.exists() for path in places) else None

    def known_exams(self) -> Iterator[KnownExam]:
        """Of every sweep with a sidecar that can be read, those in the trash too."""
        for folder in (self.recordings, self.recordings / TRASH):
            for path in sorted(folder.glob("sweep_*.json")):
                with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # named where the sweep itself is opened
                    yield msgspec.json.decode(path.read_bytes()[:SIDECAR_BYTES], type=KnownExam)

    def write(self, record: Record) -> None:
        """Keep what is known, whole or as it was."""
        folder = self.recordings / TRASH if record.state == "discarded" else self.recordings
        with self.lock, replacing(folder / f"{record.id}.json") as out:
            out.write(msgspec.json.encode(record))

    @contextmanager
    def changing(self, sweep: str) -> Iterator[Record]:
        """What is known of it, to be changed; kept at the end, unless something is raised. ``NoSuchSweep``, ``SidecarUnreadable``."""
        with self.lock:
            record = self.record(sweep)
            yield record
            self.write(record)

    def files(self, sweep: str) -> list[Path]:
        """Everything of a sweep. ``NoSuchSweep``."""
        found = sorted(path for path, match in self._all() if match["id"] == sweep)
        if not found:
            raise NoSuchSweep(f"there is no sweep {sweep[:60]!r}; list the sweeps again")
        return found

    def file(self, sweep: str, name: str) -> Path:
        """One file by its bare name. ``NoSuchSweep``: names are looked up and never followed, so none can lead out of the folders."""
        for path in self.files(sweep):
            if path.name == name and path.is_file() and not path.is_symlink():
                return path
        raise NoSuchSweep(f"sweep {sweep} has no file {name[:80]!r}")

    def listed(self, sweep: str) -> dict[str, Any]:
        """As the page is told (docs/tablet-link.md)."""
        record, files = self.record(sweep), self.files(sweep)
        known = {key: value for key, value in msgspec.to_builtins(record).items() if key not in ("path", "format", "image_size")}
        return known | {
            "volume": bool(self.volume_files(sweep)),
            "recording": any(path.suffix == ".mcap" for path in files),
            "files": [
                {"name": path.name, "bytes": facts.st_size}
                for path in files
                if path.suffix != ".json" and (facts := _facts(path)) is not None
            ],
        }

    def recording(self, sweep: str) -> Path:
        """The recording that a volume is rebuilt from: the first part. ``NoSuchSweep``."""
        for path in self.files(sweep):
            if path.suffix == ".mcap":
                return path
        raise NoSuchSweep(f"sweep {sweep} has no recording")

    def volume_files(self, sweep: str) -> list[Path]:
        """The newest volume, one file a channel, without the voxel states beside them."""
        found = [path for path in self.files(sweep) if path.suffix == ".nrrd" and not path.stem.endswith("-state")]
        newest = max((_part(path) for path in found), default=0)
        return [path for path in found if _part(path) == newest]

    def forget_but(self, sweep: str, files: tuple[str, ...]) -> None:
        """Remove all that was made of an older volume than ``files``: two that are mirror images of each other must not lie side by side.

        Pictures, measurements and other formats are of the volume that they were made of, whatever number they bear. Recordings and what
        is known stay: all else can be made again.
        """
        keep = {Path(file).name for file in files}
        for path in self.files(sweep):
            if path.suffix not in (".mcap", ".damaged", ".json") and path.name not in keep:
                path.unlink()

    def save(self, sweep: str, exam: dict[str, str]) -> Record:
        """Keep it, with the exam it belongs to. ``WrongState`` for one in the trash."""
        with self.lock:
            record = self._in(sweep, ("unsaved", "saved"), "restore it first")
            record.state, record.exam = "saved", exam
            self.write(record)
        return record

    def discard(self, sweep: str) -> None:
        """Into the trash, all files."""
        with self.lock:
            record = self._in(sweep, ("unsaved", "saved"), "it is in the trash already")
            self._move(sweep, into_trash=True)
            if not (self.recordings / TRASH / f"{sweep}.json").exists():
                record.state = "discarded"
                self.write(record)

    def restore(self, sweep: str) -> None:
        """Back from the trash, as it was."""
        with self.lock:
            self._in(sweep, ("discarded",), "it is not in the trash")
            self._move(sweep, into_trash=False)
            record = self.record(sweep)
            if record.state == "discarded":
                record.state = "unsaved"
                self.write(record)

    def purge(self, sweep: str) -> None:
        """Delete it for good: only from the trash."""
        with self.lock:
            self._in(sweep, ("discarded",), "discard it first")
            for path in self.files(sweep):
                path.unlink()

    def _in(self, sweep: str, states: tuple[State, ...], cure: str) -> Record:
        record = self.record(sweep)
        if record.state not in states:
            raise WrongState(f"sweep {sweep} is {record.state}; {cure}")
        return record

    def _move(self, sweep: str, *, into_trash: bool) -> None:
        for path in self.files(sweep):
            in_trash = path.parent.name == TRASH
            if in_trash != into_trash:
                path.rename(path.parent / TRASH / path.name if into_trash else path.parent.parent / path.name)
        for folder in self._folders():
            sync_folder(folder)
            sync_folder(folder / TRASH)

    def _folders(self) -> list[Path]:
        return [self.recordings] if self.recordings == self.volumes else [self.recordings, self.volumes]

    def _all(self) -> Iterator[tuple[Path, re.Match[str]]]:
        for folder in self._folders():
            for place in (folder, folder / TRASH):
                for path in place.iterdir():
                    if match := FILE.fullmatch(path.name):
                        yield path, match


def _facts(path: Path) -> os.stat_result | None:
    """None where it has just been moved or deleted."""
    with suppress(FileNotFoundError):
        return path.stat()
    return None


def _part(path: Path) -> int:
    match = FILE.fullmatch(path.name)
    return int(match["part"][1:]) if match and match["part"] else 0
