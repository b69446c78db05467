"""Reading a recording that may have been cut anywhere, and finishing it: every whole chunk counts, nothing after the first break."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Chunk, Header, McapRecord, Message, MessageIndex, Metadata
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

from edge.atomic import replacing, sync_folder
from edge.files.errors import MalformedFile, UnsupportedFile
from edge.files.recording import FRAME_CHANNEL, PROFILE, McapFile, unpack_parts

LARGEST_RECORD = 256 << 20
LARGEST_TAIL = 32 << 20  # bytes that may have been on their way to the disk when the power went: more is kept aside
DAMAGED = ".damaged"
_HEAD = struct.Struct("<BQ")
_FOOTER = struct.Struct("<BQQQI8s")
_CRC_BYTES = 4
_OPCODES = frozenset(int(opcode) for opcode in Opcode)
_DAMAGE = (McapError, ValueError, OverflowError, struct.error)  # what the mcap package raises on bytes that are not what they should be


@dataclass
class Scan:
    """What stands in a recording. ``metadata`` by name; ``frames`` as counted by the indexes; times of the log in ns."""

    size: int = 0
    finished: bool = False  # ends as a recording should
    whole_until: int = 0  # end of the last whole record
    chunks: int = 0
    damaged_chunks: int = 0  # framed as they should be, but their CRC does not hold: left out
    damaged_frames: int = 0  # that were in them, as counted by their indexes
    damaged_bytes: int = 0
    after_damaged: bool = False  # the last chunk was one
    frames: int = 0
    first_ns: int = 0
    last_ns: int = 0
    received_ns: set[int] = field(default_factory=set)  # of each frame
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)


class Recovered(NamedTuple):
    """What :func:`recover` did: ``cut`` is False where the recording was whole and nothing was changed."""

    path: Path
    cut: bool
    frames: int
    lost_bytes: int
    damaged_chunks: int = 0


def is_finished(path: Path) -> bool:
    """Whether the recording has its end, whole: index, footer and magic. The writer makes them last, when all else is on the disk."""
    size = path.stat().st_size
    if size < _FOOTER.size + len(MCAP0_MAGIC):
        return False
    with path.open("rb") as file:
        file.seek(size - _FOOTER.size)
        opcode, length, summary_at, _, crc, magic = _FOOTER.unpack(file.read(_FOOTER.size))
        if (opcode, length, magic) != (Opcode.FOOTER, _FOOTER.size - _HEAD.size - len(MCAP0_MAGIC), MCAP0_MAGIC):
            return False
        covered = size - len(MCAP0_MAGIC) - _CRC_BYTES - summary_at
        if not 0 < summary_at < size or not 0 < covered <= LARGEST_RECORD:
            return False
        file.seek(summary_at)
        return bool(zlib.crc32(file.read(covered)) == crc)


def survey(path: Path) -> Scan:
    """Walk over the records and check every CRC, decoding nothing."""
    scan = Scan()
    for _ in chunks(path, scan, skim=True):
        pass
    return scan


def start_of(path: Path) -> dict[str, str]:
    """What the recorder wrote before the first frame: ``started``, ``clock_trusted`` ... ``UnsupportedFile``."""
    scan = Scan()
    next(chunks(path, scan, skim=True), None)
    return scan.metadata.get("sweep", {})


def chunks(path: Path, scan: Scan, *, skim: bool = False) -> Iterator[list[Message]]:
    """The messages of each whole chunk whose CRC holds, one chunk in memory; ``scan`` is filled on the way.

    ``skim`` decodes no message: the lists are empty. ``UnsupportedFile`` for an MCAP file that is not a recording of ours; a cut file
    is no error.
    """
    scan.size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(len(MCAP0_MAGIC))
        if magic != MCAP0_MAGIC[: len(magic)]:
            raise UnsupportedFile(f"{path}: is not a recording of sonosweep")
        for opcode, payload in _records(file, scan):
            try:
                yield from _take(opcode, payload, scan, skim, path)
            except _DAMAGE:
                if opcode != Opcode.CHUNK:
                    return
                scan.damaged_chunks += 1
                scan.damaged_bytes += _HEAD.size + len(payload)
                scan.after_damaged = True
            scan.whole_until = file.tell()
            if opcode == Opcode.FOOTER:
                scan.finished = file.read() == MCAP0_MAGIC
                scan.whole_until += len(MCAP0_MAGIC) * scan.finished


def _records(file: BinaryIO, scan: Scan, *, chunks: bool = True) -> Iterator[tuple[int, bytes]]:
    """(opcode, payload) of every record that is whole; without ``chunks`` those are stepped over."""
    while True:
        at = file.tell()
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        opcode, length = _HEAD.unpack(head)
        if opcode not in _OPCODES or length > min(LARGEST_RECORD, scan.size - at - _HEAD.size):
            return
        if opcode == Opcode.CHUNK and not chunks:
            file.seek(length, os.SEEK_CUR)
        else:
            yield opcode, file.read(length)


def _take(opcode: int, payload: bytes, scan: Scan, skim: bool, path: Path) -> Iterator[list[Message]]:
    stream = ReadDataStream(BytesIO(payload))
    if opcode == Opcode.HEADER:
        if Header.read(stream).profile != PROFILE:
            raise UnsupportedFile(f"{path}: is an MCAP file, but not a recording of sonosweep")
    elif opcode == Opcode.METADATA:
        found = Metadata.read(stream)
        scan.metadata[found.name] = found.metadata
    elif opcode == Opcode.MESSAGE_INDEX:
        index = MessageIndex.read(stream)
        frames = index.records if index.channel_id == FRAME_CHANNEL else []
        if scan.after_damaged:
            scan.damaged_frames += len(frames)
        else:
            scan.frames += len(frames)
            scan.received_ns.update(logged_ns for logged_ns, _ in frames)
    elif opcode == Opcode.CHUNK:
        first_ns, last_ns = struct.unpack_from("<QQ", payload)
        messages = _messages(payload, path, skim)
        scan.after_damaged = False
        scan.first_ns = first_ns if scan.chunks == 0 else min(scan.first_ns, first_ns)
        scan.last_ns = max(scan.last_ns, last_ns)
        scan.chunks += 1
        yield messages


def _messages(payload: bytes, path: Path, skim: bool) -> list[Message]:
    chunk = Chunk.read(ReadDataStream(BytesIO(payload)))
    if chunk.compression:
        raise UnsupportedFile(f"{path}: is compressed ({chunk.compression}); decompress it first (mcap decompress)")
    if len(chunk.data) != chunk.uncompressed_size or not chunk.uncompressed_crc:
        raise ValueError("a chunk has another length than it says, or no CRC")
    if zlib.crc32(chunk.data) != chunk.uncompressed_crc:
        raise ValueError("the CRC of a chunk does not hold")
    records: list[McapRecord] = [] if skim else breakup_chunk(chunk)
    return [record for record in records if isinstance(record, Message)]


def recover(path: Path) -> Recovered:
    """Finish a recording that was cut: afterwards it ends as it should and holds every whole chunk.

    The new file takes the name of the old one when all of it is on the disk; until then the old one stays as it is. Where it holds more
    than a cut explains (damaged chunks, or bytes after a break), it stays for good, as ``<name>.damaged``.
    ``BlockingIOError`` where the recording is being written right now, ``OSError`` where there is no room for the new one.
    """
    if is_finished(path):
        return Recovered(path, False, survey(path).frames, 0)
    with path.open("rb") as old:
        fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part = path.with_name(f".{path.name}.recovering")
        part.unlink(missing_ok=True)
        try:
            scan, frames = _copy(path, part)
            if aside := _aside(path, scan):
                _keep(path, aside)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    return Recovered(path, True, frames, _lost_bytes(scan), scan.damaged_chunks)


def _lost_bytes(scan: Scan) -> int:
    return max(0, scan.size - scan.whole_until) + scan.damaged_bytes


def _aside(path: Path, scan: Scan) -> Path | None:
    """Where the old file is kept, if more of it is left out than a cut explains."""
    return path.with_name(path.name + DAMAGED) if scan.damaged_chunks or _lost_bytes(scan) > LARGEST_TAIL else None


def _keep(path: Path, aside: Path) -> None:
    """The old file by a second name; a copy of it where the storage has none (exFAT)."""
    aside.unlink(missing_ok=True)
    try:
        os.link(path, aside)
    except OSError:
        with path.open("rb") as old, replacing(aside) as copy:
            shutil.copyfileobj(old, copy)


def _copy(path: Path, part: Path) -> tuple[Scan, int]:
    scan, new, frames = Scan(), McapFile(part), 0
    try:
        channels = {"frame": FRAME_CHANNEL}
        for messages in chunks(path, scan):
            for message in messages:
                topic = bytes(unpack_parts(message.data)[0]).decode()
                if topic not in channels:
                    channels[topic] = new.channel(topic)
                new.writer.add_message(channels[topic], message.log_time, message.data, message.publish_time, message.sequence)
                frames += topic == "frame"
            new.writer.flush()
        end = scan.metadata.pop("sweep_end", {"reason": "cut", "frames": str(frames)})
        recovery = {"bytes_lost": str(_lost_bytes(scan)), "damaged_chunks": str(scan.damaged_chunks)}
        if aside := _aside(path, scan):
            recovery["kept_aside"] = aside.name
        new.finish({**scan.metadata, "sweep_end": end, "recovery": recovery})
    except (ValueError, IndexError) as wrong:
        raise MalformedFile(f"{path}: a chunk holds what no recorder of ours wrote ({wrong})") from wrong
    finally:
        new.close()
    return scan, frames


def interrupted(folder: Path) -> list[Path]:
    """The recordings in ``folder`` that have no end; leftovers of a recovery that was itself interrupted are removed."""
    for leftover in folder.glob(".sweep_*.mcap.recovering"):
        leftover.unlink(missing_ok=True)
    return [path for path in sorted(folder.glob("sweep_*.mcap")) if not is_finished(path)]


def received_in(folder: Path, stem: str) -> set[int]:
    """When each frame was received that is in the recordings ``<stem>_<part>.mcap``; a recording that cannot be read holds none.

    By the indexes alone, so that a recorder that goes on with a sweep of 2 GB does not stand still: their chunks are not checked.
    """
    known: set[int] = set()
    for path in folder.glob(f"{stem}_*.mcap"):
        with suppress(OSError, *_DAMAGE), path.open("rb") as file:
            scan = Scan(size=path.stat().st_size, received_ns=known)
            file.seek(len(MCAP0_MAGIC))
            for opcode, payload in _records(file, scan, chunks=False):
                if opcode == Opcode.MESSAGE_INDEX:
                    list(_take(opcode, payload, scan, skim=True, path=path))
    return known


def recover_all(paths: list[Path]) -> tuple[list[Recovered], list[str]]:
    """Recover each; answers what was recovered, and a sentence for each that could not be (it stays as it is)."""
    done: list[Recovered] = []
    failed: list[str] = []
    for path in paths:
        try:
            done.append(recover(path))
        except BlockingIOError:
            continue  # another recorder is writing it
        except (OSError, MalformedFile, UnsupportedFile) as wrong:
            cure = "; free some space and start the recorder again" if isinstance(wrong, OSError) and wrong.errno == errno.ENOSPC else ""
            failed.append(f"{path.name} could not be recovered: {wrong}{cure}")
    return done, failed
