"""The reconstructor as a service: frames in from the bridge, poses, bricks, faults and status out. All I/O stands here."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import zmq

from edge.bus import FrameIntake, Publisher, ipc
from edge.config import Config
from edge.daemon import memory_mib
from edge.errors import SonosweepError
from edge.files.names import sweep_id
from edge.journal import say_fault
from edge.latency import Latencies
from edge.messages import Command, FaultRaised, Frame, MalformedMessage, Message, Pose, Status, SweepEnded
from edge.orders import Orders
from edge.peers import Peers, SignOfLife
from edge.rebuild import Rebuild
from edge.reconstructor import Reconstructor
from edge.saving import next_volume, save_volumes
from edge.services import ALL

FRAMES_PER_STEP, PLACING_S = 8, 0.15  # whichever is over first; then status, faults and the watchdog have their turn
WAIT_MS, SAVING_MS, AHEAD_MS = 200, 50, 10
POSES_AHEAD = 200  # that a rebuild is before who shows it: with their bricks some 500 messages, half of what a subscriber's queue holds


class RunService:
    """Drives one :class:`Reconstructor` with what the bridge pushes. ``step`` returns within a quarter of a second."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        reconstructor: Reconstructor,
        standing: dict[str, str] | None = None,
    ) -> None:
        """``standing``: faults, with their detail, that hold for as long as the service lives."""
        run_dir = Path(config.run_dir)
        self._config = config
        self._reconstructor = reconstructor
        self._intake = FrameIntake(context, ipc(run_dir, "frames.run"))
        self._publisher = Publisher(context, ipc(run_dir, "run"))
        self._peers = Peers(context, run_dir, "run", ALL.keys() - {"run"})
        self._orders = Orders("run", self._publisher, self._obey)
        self._latencies = Latencies()
        self._saver = ThreadPoolExecutor(1, "save")
        self._saving: list[tuple[Path, SweepEnded, Future[tuple[str, ...]]]] = []
        self._rebuild: Rebuild | None = None
        self._life = SignOfLife()
        self._poller = zmq.Poller()
        for socket in (self._intake.socket, *self._peers.commanders):
            self._poller.register(socket, zmq.POLLIN)
        self._ended: SweepEnded | None = None
        self._heard = time.monotonic()
        self._standing = standing or {}
        for name, detail in self._standing.items():
            self._publish(FaultRaised(service="run", name=name, detail=detail))

    def step(self) -> None:
        """Place what has come, then say how we are."""
        waits = self._rebuild is not None and self._ahead()
        self._poller.poll(AHEAD_MS if waits else 0 if self._rebuild else SAVING_MS if self._saving else WAIT_MS)
        self._place_frames()
        if not waits:
            self._go_on_rebuilding()
        if self._reconstructor.sweeping and not self._rebuild and time.monotonic() - self._heard > self._config.volume.silent_after_s:
            self._say(self._reconstructor.finish("PROBE_SILENT"))
        self._finish_saving()
        for fault in self._peers.check():
            self._publish(fault)
        self._orders.hear(self._peers.said)
        self._peers.said.clear()
        if self._life.due(self.state, idle=self.state == "idle"):
            self._publish(self.status())

    def status(self) -> Status:
        """The sign of life, with the counts of the current sweep and the latencies since the start."""
        return Status(
            service="run",
            state=self.state,
            counts=msgspec.to_builtins(self._reconstructor.counts)
            | {"bricks": self._reconstructor.compounder.brick_count()}
            | {"saving": len(self._saving)}
            | ({"rebuilt": self._rebuild.done, "to_rebuild": self._rebuild.total} if self._rebuild else {}),
            backend=f"{self._reconstructor.compounder.backend}, {self._motion()}",
            latency_ms=self._latencies.summary(),
            faults=self._publisher.faults,
            standing=self._standing,
            ended=self._ended,
            health={"memory_mib": memory_mib()},
        )

    def close(self) -> None:
        """End the open sweep (a rebuild is given up), finish what is being saved, close the sockets."""
        self._end_rebuilding("the service was stopped" if self._rebuild else "")
        self._say(self._reconstructor.finish("stopped"))
        self._saver.shutdown()
        self._finish_saving()
        self._publish(self.status())
        self._intake.close()
        self._peers.close()
        self._publisher.close()

    def _ahead(self) -> bool:
        """Somebody who shows what we place has yet to hear so many poses that more could be lost to it."""
        said, statuses = self._publisher.said(Pose), self._peers.statuses.items()
        return any(said - status.counts.get("poses_heard", said) > POSES_AHEAD for name, status in statuses if self._peers.alive(name))

    def _motion(self) -> str:
        motion = self._reconstructor.motion
        return f"{motion.name} ({motion.backend})" if motion.backend else motion.name

    def _place_frames(self) -> None:
        """Some, or one where a network's step takes as long as on a hot or emulated processor."""
        over_s = time.monotonic() + PLACING_S
        for _ in range(FRAMES_PER_STEP):
            try:
                frame = self._intake.receive()
            except MalformedMessage as wrong:
                self._publish(FaultRaised(service="run", name="MALFORMED_FRAMES", detail=str(wrong)))
                continue
            if frame is None:
                return
            if isinstance(frame, Frame):
                self._feed(frame)
            if time.monotonic() > over_s:
                return

    @property
    def state(self) -> str:
        """What it does, in one word."""
        if self._rebuild:
            return "rebuilding"
        return "sweeping" if self._reconstructor.sweeping else "saving" if self._saving else "idle"

    def _obey(self, command: Command) -> tuple[str, str]:
        """Do it; answers the name of an error and its detail, or nothing."""
        if self._reconstructor.sweeping or self._rebuild:
            return "SWEEP_RUNS", ""
        if command.action == "aim":
            self._reconstructor.aim(command.direction, command.direction_source)
            return "", ""
        if command.action != "rebuild":
            return "UNKNOWN_COMMAND", ""
        if not self._reconstructor.motion.relative:
            return "DIRECTION_TRACKED", ""
        try:
            path, direction, source = Path(command.path), command.direction, command.direction_source
            self._rebuild = Rebuild(self._reconstructor, path, direction, source, frames=command.frames)
        except (SonosweepError, OSError) as wrong:
            return "REBUILD_FAILED", str(wrong)
        self._publish(self.status())  # before the answer: whoever has that knows that files are being written
        return "", ""

    def _go_on_rebuilding(self) -> None:
        if self._rebuild is None:
            return
        try:
            said, done = self._rebuild.piece()
        except (SonosweepError, OSError) as wrong:
            self._end_rebuilding(str(wrong))
            return
        self._say(said)
        if done:
            self._end_rebuilding("")

    def _end_rebuilding(self, failed: str) -> None:
        if self._rebuild:
            self._rebuild.restore()
            self._rebuild = None
        if failed:
            self._publish(FaultRaised(service="run", name="REBUILD_FAILED", detail=failed))

    def _feed(self, frame: Frame) -> None:
        if self._rebuild:
            if frame.sweep_key == self._rebuild.over:
                return
            self._end_rebuilding(f"a new sweep began with frame {frame.sequence}")
        taken_ns = time.monotonic_ns()
        said = self._reconstructor.feed(frame)
        placed_ns = time.monotonic_ns()
        self._say(said)
        published_ns = time.monotonic_ns()
        self._heard = published_ns / 1e9  # the probe is not silent while we are at work on its image
        self._latencies.add("queue", taken_ns - frame.received_ns)
        self._latencies.add("reconstruct", placed_ns - taken_ns)
        self._latencies.add("publish", published_ns - placed_ns)
        self._latencies.add("received_to_published", published_ns - frame.received_ns)

    def _say(self, messages: list[Message]) -> None:
        for message in messages:
            if isinstance(message, SweepEnded) and self._config.volume.save:
                self._save(message)
            else:
                self._publish(message)

    def _publish(self, message: Message) -> None:
        if isinstance(message, FaultRaised):
            say_fault(message)
        elif isinstance(message, SweepEnded):
            self._ended = message
            self._life.hurry()
        self._publisher.say(message)

    def _save(self, ended: SweepEnded) -> None:
        """Write the volumes in the background: their voxels are copied now, so that the next sweep may begin."""
        try:
            volumes = self._reconstructor.volumes()
        except (SonosweepError, MemoryError) as wrong:
            self._not_saved(ended, wrong)
            return
        folder, stem = Path(self._config.volume.save), sweep_id(ended.boot_id, ended.sweep)
        path = next_volume(folder, stem, [item[0] for item in self._saving])
        self._saving.append((path, ended, self._saver.submit(save_volumes, path, volumes)))

    def _finish_saving(self) -> None:
        for item in [item for item in self._saving if item[2].done()]:
            self._saving.remove(item)
            _, ended, work = item
            try:
                self._publish(msgspec.structs.replace(ended, files=work.result()))
            except (SonosweepError, OSError, MemoryError) as wrong:
                self._not_saved(ended, wrong)

    def _not_saved(self, ended: SweepEnded, wrong: Exception) -> None:
        detail = str(wrong) or type(wrong).__name__
        self._publish(FaultRaised(service="run", name="VOLUME_NOT_SAVED", detail=detail, boot_id=ended.boot_id, sweep=ended.sweep))
        self._publish(ended)
