"""The recorder as a service: frames in from the bridge, onto the disk, and word of what is safe. All I/O of recording stands here."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import zmq

from edge.atomic import make_folder
from edge.bus import FrameIntake, Publisher, ipc
from edge.clock import clock_source
from edge.config import Config
from edge.console import say
from edge.daemon import memory_mib
from edge.files.names import sweep_id
from edge.files.parts import Earlier
from edge.files.recording import RecordingFailed, RecordingWriter
from edge.files.recovery import Recovered, interrupted, recover_all
from edge.health import clock_trusted, free_mib, now_utc
from edge.journal import say_fault
from edge.latency import Latencies
from edge.messages import FaultRaised, Frame, Geometry, MalformedMessage, Message, Status, SweepEnded
from edge.peers import Peers, SignOfLife
from edge.services import SERVICES

WAIT_MS = 200
FRAMES_PER_STEP = 64  # then the disk, status and faults have their turn
SPACE_PERIOD_S = 5.0
QUEUE_EMPTY_S = 0.3  # after an overflow: frames queued before it are with us by then


@dataclass
class _Recording:
    """The sweep that is being recorded."""

    key: tuple[int, int]
    writer: RecordingWriter
    geometries: dict[str, Geometry] = field(default_factory=dict)  # by modality
    last_sequence: int = -1
    lost: int = 0


class RecordService:
    """Writes every frame it is given; a recording ends by name. ``step`` returns within a quarter of a second, unless the disk hangs."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], config: Config) -> None:
        """``RecordingFailed`` where the folder for recordings cannot be used."""
        run_dir = Path(config.run_dir)
        self._config = config
        self._folder = Path(config.record.folder)
        try:
            make_folder(self._folder)
            cut = interrupted(self._folder)
        except OSError as wrong:
            raise RecordingFailed(f"{self._folder}: {wrong.strerror}; choose another folder ([record] folder)", full=False) from wrong
        self._recoverer = ThreadPoolExecutor(1, "recover")
        self._recovering: Future[tuple[list[Recovered], list[str]]] | None = self._recoverer.submit(recover_all, cut) if cut else None
        self._intake = FrameIntake(context, ipc(run_dir, "frames.record"))
        self._publisher = Publisher(context, ipc(run_dir, "record"))
        self._peers = Peers(context, run_dir, "record")
        self._latencies = Latencies()
        self._recording: _Recording | None = None
        self._earlier = Earlier(self._folder)
        self._taken_ns = self._safe_ns = 0  # when the newest frame was received that we took; that is on the disk
        self._refused: tuple[int, int] | None = None  # the sweep whose recording the storage stopped
        self._overflowed: tuple[int, int] | None = None  # the sweep that the bridge no longer sends us
        self._counts = {"frames": 0, "bytes": 0, "synced": 0, "lost": 0, "refused": 0, "files": 0, "recovered": 0}
        self._standing: dict[str, str] = {}
        self._free_mib = 0
        self._heard = self._synced = time.monotonic()
        self._looked = 0.0
        self._life = SignOfLife()

    def step(self) -> None:
        """Take what has come, put it on the disk when it is time, then say how we are."""
        self._intake.socket.poll(WAIT_MS if self._recording is None else min(100, self._config.record.sync_ms))
        self._take_frames(FRAMES_PER_STEP)
        now = time.monotonic()
        if now - self._synced >= self._config.record.sync_ms / 1000:
            self._sync()
        for fault in self._peers.check():
            self._publish(fault)
        if now - self._looked > SPACE_PERIOD_S:
            self._looked = now
            self._watch_space()
        self._hear_faults()
        current, silent_s = self._recording, now - self._heard
        if current is not None and current.key == self._overflowed and silent_s > QUEUE_EMPTY_S:
            self._finish("RECORDER_OVERFLOW")
        elif current is not None and silent_s > self._config.volume.silent_after_s:
            self._finish("PROBE_SILENT")
        self._hear_recovery()
        if self._life.due(self.state, idle=self._recording is None):
            self._publish(self.status())

    @property
    def state(self) -> str:
        """What it does, in one word."""
        return "recording" if self._recording is not None else "recovering" if self._recovering is not None else "idle"

    def status(self) -> Status:
        """The sign of life. Counts are of the current (or last) recording: ``synced`` frames survive a power cut."""
        self._count()
        return Status(
            service="record",
            state=self.state,
            counts=dict(self._counts),
            latency_ms=self._latencies.summary(),
            faults=self._publisher.faults,
            standing=self._standing,
            health={"memory_mib": memory_mib(), "free_mib": self._free_mib},
            safe_ns=self._safe_ns if self._recording is not None else self._taken_ns,
        )

    def close(self) -> None:
        """Take what is queued, end the open recording as it should, close the sockets."""
        self._take_frames(SERVICES["record"].queue_frames)
        self._finish("stopped")
        self._recoverer.shutdown()
        self._hear_recovery()
        self._publish(self.status())
        self._intake.close()
        self._peers.close()
        self._publisher.close()

    def _take_frames(self, most: int) -> None:
        for _ in range(most):
            try:
                frame = self._intake.receive()
            except MalformedMessage as wrong:
                self._publish(FaultRaised(service="record", name="MALFORMED_FRAMES", detail=str(wrong)))
                continue
            if frame is None:
                return
            if isinstance(frame, Frame):
                self._take(frame)
                self._heard = time.monotonic()  # the probe is not silent while a card takes its time

    def _take(self, frame: Frame) -> None:
        current = self._recording
        if current is not None and (reason := _end_before(current, frame)):
            self._finish(reason)
        self._taken_ns = frame.received_ns
        if self._earlier.holds(frame):
            return
        if frame.sweep_key == self._refused:
            self._counts["refused"] += 1
            return
        try:
            if self._recording is None:
                self._recording = self._begin(frame)
            recording = self._recording
            recording.writer.append(frame)
        except RecordingFailed as wrong:
            self._stop(frame.sweep_key, wrong)
            self._counts["refused"] = 1
            return
        recording.geometries[frame.modality] = frame.geometry
        recording.lost += max(0, frame.sequence - recording.last_sequence - 1)
        recording.last_sequence = max(frame.sequence, recording.last_sequence)
        if frame.last:
            self._finish("last")

    def _begin(self, frame: Frame) -> _Recording:
        self._refused = None
        self._standing.pop("DISK_FULL", None)
        self._standing.pop("STORAGE_FAILED", None)
        self._check_space()
        paths = ((part, self._folder / f"{sweep_id(*frame.sweep_key)}_{part}.mcap") for part in count())
        part, path = next((part, path) for part, path in paths if not path.exists())
        start = {"boot_id": f"{frame.boot_id:016x}", "sweep": str(frame.sweep), "part": str(part), "first_sequence": str(frame.sequence)}
        start |= {"started": now_utc(), "clock_trusted": str(clock_trusted()).lower(), "clock_source": clock_source()}
        writer = RecordingWriter(path, start)
        self._synced = time.monotonic()
        return _Recording(frame.sweep_key, writer, last_sequence=frame.sequence - 1)

    def _sync(self) -> None:
        self._synced = time.monotonic()
        if self._recording is None:
            return
        try:
            begun = time.monotonic_ns()
            if self._recording.writer.sync():
                self._safe_ns = self._taken_ns
                self._latencies.add("sync", time.monotonic_ns() - begun)
            self._check_space()
        except RecordingFailed as wrong:
            self._stop(self._recording.key, wrong)

    def _check_space(self) -> None:
        try:
            self._free_mib = free_mib(self._folder)
        except OSError as wrong:
            raise RecordingFailed(f"{self._folder}: {wrong.strerror}; check the storage", full=False) from wrong
        if self._free_mib < (keep_mib := self._config.record.keep_free_mib):
            raise RecordingFailed(f"{self._folder}: {self._free_mib} MiB are free, {keep_mib} must stay so", full=True)

    def _watch_space(self) -> None:
        """Say that the storage is nearly full while there is time to make room, before a sweep and not in it."""
        warn_mib = max(self._config.record.warn_free_mib, self._config.record.keep_free_mib)
        try:
            self._free_mib = free_mib(self._folder)
        except OSError as wrong:
            self._stand("STORAGE_FAILED", f"{self._folder}: {wrong.strerror}")
            return
        if self._refused is None:
            self._standing.pop("STORAGE_FAILED", None)
        if self._free_mib < warn_mib:
            self._stand("DISK_NEARLY_FULL", f"{self._folder}: {self._free_mib} MiB are free")
        elif self._free_mib > 1.05 * warn_mib:  # and not at the next MiB: the fault would come and go
            self._standing.pop("DISK_NEARLY_FULL", None)

    def _stand(self, name: str, detail: str) -> None:
        """The fault holds from now on; it is raised where it did not before."""
        if name not in self._standing:
            self._publish(FaultRaised(service="record", name=name, detail=detail))
        self._standing[name] = detail

    def _stop(self, key: tuple[int, int], wrong: RecordingFailed) -> None:
        """The storage takes no more of this sweep: end its recording, go on living, try again with the next sweep."""
        self._refused = key
        self._counts["refused"] = 0
        name = "DISK_FULL" if wrong.full else "STORAGE_FAILED"
        self._standing[name] = str(wrong)
        self._publish(FaultRaised(service="record", name=name, detail=str(wrong), boot_id=key[0], sweep=key[1]))
        if self._recording is None:  # it could not even begin; nobody shall wait for its end
            self._publish(SweepEnded(service="record", boot_id=key[0], sweep=key[1], reason=name, frames=0))
        self._finish(name)

    def _finish(self, reason: str) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        writer = recording.writer
        reason = "RECORDER_OVERFLOW" if recording.key == self._overflowed else reason
        try:
            if writer.is_open:
                writer.finish(reason)
        except RecordingFailed as wrong:
            say(f"record: {wrong}")
        if writer.synced_frames < writer.frames:
            say(f"record: {writer.synced_frames} of {writer.frames} frames are on the disk; the next start finishes {writer.path}")
        self._count(recording)
        self._counts["files"] += 1
        (boot_id, sweep), files = recording.key, (str(writer.path),)
        ended = SweepEnded(
            service="record", boot_id=boot_id, sweep=sweep, reason=reason, frames=writer.synced_frames, lost=recording.lost, files=files
        )
        self._publish(ended)

    def _hear_faults(self) -> None:
        """The bridge could not queue a frame for us: what it queued before, and may still be on its way, ends the recording.

        With an empty battery the file is closed before the device goes out; the rest of the sweep is not begun again."""
        for message in self._peers.said:
            if isinstance(message, FaultRaised) and message.name == "RECORDER_OVERFLOW":
                self._overflowed = message.boot_id, message.sweep
            elif isinstance(message, FaultRaised) and message.name == "BATTERY_EMPTY" and self._recording is not None:
                self._refused, self._counts["refused"] = self._recording.key, 0
                self._finish("BATTERY_EMPTY")
        self._peers.said.clear()

    def _hear_recovery(self) -> None:
        if self._recovering is None or not self._recovering.done():
            return
        done, failed = self._recovering.result()
        self._recovering = None
        self._counts["recovered"] += len(done)
        for one in done:
            damage = f", {one.damaged_chunks} chunks were damaged: the old file stays beside it" if one.damaged_chunks else ""
            say(f"record: {one.path} was cut; {one.frames} frames are safe, {one.lost_bytes} bytes were not whole{damage}")
        for sentence in failed:
            say(f"record: {sentence}")

    def _count(self, recording: _Recording | None = None) -> None:
        recording = recording or self._recording
        if recording is not None:
            writer = recording.writer
            self._counts |= {"frames": writer.frames, "bytes": writer.bytes, "synced": writer.synced_frames, "lost": recording.lost}

    def _publish(self, message: Message) -> None:
        if isinstance(message, FaultRaised):
            say_fault(message)
        self._publisher.say(message)


def _end_before(recording: _Recording, frame: Frame) -> str:
    """Why ``frame`` does not belong into the open recording; empty where it does."""
    if frame.boot_id != recording.key[0]:
        return "PROBE_RESTARTED"
    if frame.sweep_key != recording.key:
        return "next"
    if recording.geometries.get(frame.modality, frame.geometry) != frame.geometry:
        return "GEOMETRY_CHANGED"
    return ""
