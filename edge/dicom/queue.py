"""What is to be sent, on the disk: it survives power loss at any point, and a UID never names two contents.

Each object is ``UID.dcm`` and what is known of it ``UID.json``. The object is written first, so that an entry always has one; an object
without an entry (the power went between the two) waits to be sent like any other. Both are replaced whole or not at all. An object
goes when the PACS has committed itself to it; its entry stays, so that nothing is sent again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from edge.atomic import make_folder, replacing, sync_folder
from edge.dicom.errors import AlreadyQueued, MalformedDicom, NoSuchObject, QueueDamaged
from edge.dicom.identifiers import sha256_of
from edge.dicom.reading import is_uid, read_header

State = Literal["waiting", "stored", "committed", "refused", "dropped"]
LONGEST_WORDS = 500
MOST_TRANSACTIONS = 256  # asked once an hour, ten days: a PACS may commit itself at night, or after a weekend


class Entry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is known of an object. ``words``: what the PACS or the network said last. No field of an exam is in it."""

    format: Literal[1] = 1
    uid: str
    sop_class: str
    syntax: str
    sha256: str
    bytes: int
    name: str = ""
    state: State = "waiting"
    final: bool = False  # nothing more will be asked of the PACS: its object is not kept
    attempts: int = 0
    not_before_s: float = 0.0  # of the wall clock; far in the future it is not believed, the clock was wrong then
    transactions: tuple[str, ...] = ()  # of storage commitment, the newest last
    words: str = ""


class Queue:
    """In ``folder``. Several processes may use it at once; only one may send (``edge.daemon.sole``)."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self.folder, self._now = folder, now
        make_folder(folder)
        os.chmod(folder, 0o700)
        with self._locked():
            self._tidy()

    def add(self, path: Path, name: str = "") -> Entry:
        """Take an object over, durably when this returns. The same object again changes nothing. ``AlreadyQueued``, ``MalformedDicom``."""
        header = read_header(path)
        data_sha256 = sha256_of(path)
        with self._locked():
            known = self._known(header.uid)
            if known is not None:
                if known.sha256 != data_sha256:
                    raise AlreadyQueued(
                        f"{path.name}: an object of this UID with other bytes is {known.state} in the queue; "
                        f"drop that first (sonosweep dicom queue drop {known.uid} --yes), or keep it"
                    )
                return known
            with path.open("rb") as source, replacing(self.object(header.uid)) as out:
                while piece := source.read(1 << 20):
                    out.write(piece)
            entry = Entry(**header._asdict(), sha256=data_sha256, bytes=path.stat().st_size, name=name or path.stem)
            self._write(entry)
            return entry

    @contextlib.contextmanager
    def workplace(self) -> Iterator[Path]:
        """An empty folder on the queue's disk to write objects in before they are added; one process at a time, and nothing stays there."""
        folder = self.folder / "writing"
        with _lock(self.folder / ".writing.lock"):
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
            make_folder(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def entries(self) -> list[Entry]:
        """All, in the order of their UIDs."""
        with self._locked():
            return [entry for uid in self._uids() if (entry := self._known(uid)) is not None]

    def entry(self, uid: str) -> Entry:
        """``NoSuchObject``."""
        with self._locked():
            return self._existing(uid)

    def due(self, *states: State, within_s: float = float("inf"), force: bool = False) -> list[Entry]:
        """Those in one of ``states`` whose time has come. A time more than ``within_s`` ahead is of a wrong clock, and has come."""
        now = self._now()
        found = [entry for entry in self.entries() if entry.state in states and not entry.final]
        return [one for one in found if force or one.not_before_s <= now or one.not_before_s > now + within_s]

    def change(self, uid: str, **values: object) -> Entry:
        """Durably. ``NoSuchObject``."""
        with self._locked():
            changed = msgspec.structs.replace(self._existing(uid), **values)
            changed.words = changed.words[:LONGEST_WORDS]
            changed.transactions = changed.transactions[-MOST_TRANSACTIONS:]
            self._write(changed)
            if changed.state == "committed" or changed.final:
                self.object(uid).unlink(missing_ok=True)
            return changed

    def retry(self, uid: str) -> Entry:
        """Send it again at the next chance, whatever the PACS said. ``NoSuchObject`` where it is not known, or not kept any more."""
        self.entry(uid)
        if not self.object(uid).exists():
            raise NoSuchObject(f"{uid}: its object is not kept any more; write the sweep again")
        return self.change(uid, state="waiting", final=False, attempts=0, not_before_s=0.0)

    def drop(self, uid: str) -> None:
        """Forget it for good, object and entry. ``NoSuchObject``."""
        with self._locked():
            self._write(msgspec.structs.replace(self._existing(uid), state="dropped"))
            self._remove(uid)

    def object(self, uid: str) -> Path:
        """Where the object of this UID lies."""
        if not is_uid(uid):
            raise NoSuchObject(f"{uid!r:.80} is no UID; see sonosweep dicom queue list")
        return self.folder / f"{uid}.dcm"

    def _existing(self, uid: str) -> Entry:
        entry = self._known(uid) if is_uid(uid) else None
        if entry is None:
            raise NoSuchObject(f"the queue holds no object {uid!r:.80}; see sonosweep dicom queue list")
        return entry

    def _known(self, uid: str) -> Entry | None:
        path = self.folder / f"{uid}.json"
        try:
            entry = msgspec.json.decode(path.read_bytes(), type=Entry)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
            raise QueueDamaged(f"{path}: {wrong}; remove this file, and its object waits anew to be sent") from wrong
        if entry.uid != uid:
            raise QueueDamaged(f"{path}: is about another object ({entry.uid:.64}); remove this file")
        return entry

    def _uids(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("[0-9]*.json") if is_uid(path.stem))

    def _write(self, entry: Entry) -> None:
        with replacing(self.folder / f"{entry.uid}.json") as out:
            out.write(msgspec.json.encode(entry))

    def _remove(self, uid: str) -> None:
        """The object first: what has no object cannot be sent, and its entry says that it was dropped."""
        self.object(uid).unlink(missing_ok=True)
        sync_folder(self.folder)
        (self.folder / f"{uid}.json").unlink(missing_ok=True)
        sync_folder(self.folder)

    def _tidy(self) -> None:
        """Finish what a power cut interrupted."""
        for half in self.folder.glob(".*.part"):
            half.unlink(missing_ok=True)
        for uid in self._uids():
            entry = self._known(uid)
            if entry is not None and entry.state == "dropped":
                self._remove(uid)
            elif entry is not None and (entry.state == "committed" or entry.final):
                self.object(uid).unlink(missing_ok=True)
        for path in sorted(self.folder.glob("[0-9]*.dcm")):
            if not path.with_name(f"{path.stem}.json").exists():
                self._adopt(path)

    def _adopt(self, path: Path) -> None:
        with contextlib.suppress(MalformedDicom):
            header = read_header(path)
            if header.uid == path.stem:
                entry = Entry(**header._asdict(), sha256=sha256_of(path), bytes=path.stat().st_size, name=path.stem)
                self._write(entry)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with _lock(self.folder / ".lock"):
            yield


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Waits for its turn; the kernel gives the lock back even after kill -9."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
