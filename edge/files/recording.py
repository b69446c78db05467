"""Crash-safe recordings: an append-only MCAP file that is whole up to its last sync wherever the power goes.

A chunk (with its CRC) is closed and flushed to the disk at each :meth:`RecordingWriter.sync`. One MCAP message holds the parts of one
bus message: uint32 number of parts, uint32 length of each part, then the parts (topic, MessagePack head, arrays), all little-endian.
Channel 1 is the frames. Nothing is compressed: LZ4 saves a ninth of the leg sweeps and costs half as much CPU again as recording does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from mcap.writer import CompressionType, Writer

from edge.atomic import make_folder, sync_folder
from edge.errors import SonosweepError
from edge.messages import Buffer, Frame, Message, encode

PROFILE = "sonosweep"
ENCODING = "sonosweep-parts/1"
LARGEST_CHUNK = 4 << 20  # bytes; a longer stretch between two syncs is cut into several chunks
FRAME_CHANNEL = 1
_COUNT = struct.Struct("<I")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class RecordingFailed(SonosweepError):
    """The storage did not take what was to be recorded. What was synced before is safe."""

    def __init__(self, message: str, *, full: bool) -> None:
        super().__init__(message)
        self.full = full


def pack(message: Message) -> bytes:
    """A bus message as the data of one MCAP message."""
    return pack_parts(encode(message))


def pack_parts(parts: list[Buffer]) -> bytes:
    """Parts with their number and lengths in front."""
    lengths = [len(part) for part in parts]
    return b"".join([_COUNT.pack(len(parts)), struct.pack(f"<{len(parts)}I", *lengths), *parts])


def unpack_parts(data: bytes) -> list[Buffer]:
    """The inverse of :func:`pack_parts`; ``ValueError`` for anything else. Parts are copies, so arrays in them are aligned."""
    if len(data) < 4 or len(data) < 4 + 4 * _COUNT.unpack_from(data)[0]:
        raise ValueError("a recorded message is too short")
    count = _COUNT.unpack_from(data)[0]
    lengths = struct.unpack_from(f"<{count}I", data, 4)
    if 4 + 4 * count + sum(lengths) != len(data):
        raise ValueError("the lengths in a recorded message do not add up")
    parts: list[Buffer] = []
    at = 4 + 4 * count
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    return parts


class _Output:
    """The unbuffered end of the writer: every byte is with the kernel when ``write`` returns."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.written = descriptor, 0

    def write(self, data: Buffer) -> int:
        left = memoryview(data)
        while left:
            done = os.write(self.descriptor, left)
            self.written += done
            left = left[done:]
        return len(data)

    def tell(self) -> int:
        return self.written

    def flush(self) -> None:
        """Nothing waits here."""


class McapFile:
    """An MCAP writer over a new file that no other process opens for recovery while it lives (the file is locked)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self._output = _Output(self._descriptor)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self.writer: Any = Writer(cast("IO[Any]", self._output), LARGEST_CHUNK, CompressionType.NONE)
            self.writer.start(PROFILE)
            self.channel("frame")
            self.sync()
        except BaseException:
            self.discard()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it can be written."""
        return self._descriptor >= 0

    def channel(self, topic: str) -> int:
        """A new channel; the first one, made here, is that of the frames."""
        number: int = self.writer.register_channel(topic, ENCODING, 0)
        return number

    def sync(self) -> None:
        """Close the open chunk and wait until the disk has it."""
        self.writer.flush()
        os.fdatasync(self._descriptor)

    def finish(self, metadata: Mapping[str, Mapping[str, str]]) -> None:
        """Last chunk and metadata, then (once those are on the disk) the index and the final mark, and close."""
        for name, values in metadata.items():
            self.writer.flush()
            self.writer.add_metadata(name, dict(values))
        self.sync()
        self.writer.finish()
        os.fsync(self._descriptor)
        self.close()

    def close(self) -> None:
        """Close as it is: what was synced can be recovered."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = self._output.descriptor = -1  # the number may soon be another file's

    def discard(self) -> None:
        """Close, and leave no file: nothing was recorded in it."""
        self.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


class RecordingWriter:
    """One sweep on its way to the disk. Any ``RecordingFailed`` closes the file; what was synced is kept and recoverable.

    ``frames`` and ``bytes`` count what was appended, ``synced_frames`` what no power cut can take away any more.
    """

    def __init__(self, path: Path, start: Mapping[str, str]) -> None:
        """A new file, durably named in its folder; ``start`` is kept as its metadata ``sweep``."""
        self.path = path
        self.frames = self.bytes = self.synced_frames = 0
        self._channels = {"frame": FRAME_CHANNEL}
        try:
            make_folder(path.parent)
            self._file = McapFile(path)
        except OSError as wrong:
            raise _failed(path, wrong) from wrong
        try:
            self._file.writer.add_metadata("sweep", dict(start))
            self._file.sync()
            sync_folder(path.parent)
        except OSError as wrong:
            self._file.discard()
            raise _failed(path, wrong) from wrong

    def append(self, message: Message) -> None:
        """Add to the open chunk."""
        topic = message.topic
        if topic not in self._channels:
            self._channels[topic] = self._file.channel(topic)
        data = pack(message)
        sequence, log_time, publish_time = 0, 0, 0
        if isinstance(message, Frame):
            sequence, log_time, publish_time = message.sequence & 0xFFFFFFFF, message.received_ns, message.timestamp_ns
        try:
            self._file.writer.add_message(self._channels[topic], unsigned(log_time or publish_time), data, unsigned(publish_time), sequence)
        except OSError as wrong:
            self.abandon()
            raise _failed(self.path, wrong) from wrong
        self.frames += topic == "frame"
        self.bytes += len(data)

    def sync(self) -> bool:
        """Everything appended so far is on the disk when this returns; False where there was nothing to do."""
        if self.synced_frames == self.frames:
            return False
        try:
            self._file.sync()
        except OSError as wrong:
            self.abandon()
            raise _failed(self.path, wrong) from wrong
        self.synced_frames = self.frames
        return True

    def finish(self, reason: str) -> None:
        """End the file; ``reason`` is kept as its metadata ``sweep_end``."""
        try:
            self._file.finish({"sweep_end": {"reason": reason, "frames": str(self.frames)}})
        except OSError as wrong:
            self.abandon()
            raise _failed(self.path, wrong) from wrong
        self.synced_frames = self.frames

    @property
    def is_open(self) -> bool:
        """False after the end, and after a failure."""
        return self._file.is_open

    def abandon(self) -> None:
        """Close without an end: what was synced can be recovered."""
        self._file.close()


def write_recording(path: Path, frames: Iterable[Frame], start: Mapping[str, str]) -> int:
    """Write ``frames`` as a finished recording, whole or not at all; answers how many. For sweeps that no bridge brought.

    ``RecordingFailed`` where the storage does not take them.
    """
    try:
        make_folder(path.parent)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            writer = RecordingWriter(Path(folder) / path.name, start)
            try:
                for frame in frames:
                    writer.append(frame)
                writer.finish("last")
            finally:
                writer.abandon()
            os.replace(writer.path, path)
        sync_folder(path.parent)
    except OSError as wrong:
        raise _failed(path, wrong) from wrong
    return writer.frames


def unsigned(time_ns: int) -> int:
    """As MCAP's uint64 wants it."""
    return min(max(time_ns, 0), 2**64 - 1)


def _failed(path: Path, wrong: OSError) -> RecordingFailed:
    full = wrong.errno in _FULL
    cure = "free some space" if full else "check the storage and the rights of its folder"
    return RecordingFailed(f"{path}: {wrong.strerror}; the recording stopped, {cure}", full=full)
