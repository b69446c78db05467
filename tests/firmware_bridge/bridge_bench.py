"""A bridge on the bench: the real class on real sockets, driven step by step, with consumers that take when they are told to."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from edge.bus import FrameIntake, Publisher, Subscriber, ipc
from edge.config import BridgeConfig, Config
from edge.messages import FaultRaised, Frame, Status
from firmware_bridge.bridge import Bridge
from firmware_bridge.intake import EndpointUnusable
from firmware_bridge.probe import FrontEnd

PATIENCE_S = 20.0


class BenchConsumer:
    """The other end of one frame queue. It takes at each step of the bench unless ``taking`` is false."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run_dir: Path, name: str, queue: int) -> None:
        self.intake = FrameIntake(context, ipc(run_dir, f"frames.{name}"), queue)
        self.publisher = Publisher(context, ipc(run_dir, name))
        self.name = name
        self.frames: list[Frame] = []
        self.taking = True

    def take(self) -> None:
        """All frames that wait."""
        while (frame := self.intake.receive()) is not None:
            assert isinstance(frame, Frame)
            self.frames.append(frame)

    def say_status(self, safe_ns: int = 0) -> None:
        """A sign of life."""
        self.publisher.say(Status(service=self.name, state="idle", counts={}, safe_ns=safe_ns))

    @property
    def sequences(self) -> list[int]:
        """Of the frames taken so far."""
        return [frame.sequence for frame in self.frames]

    def close(self) -> None:
        """As if it had died."""
        self.intake.close()
        self.publisher.close()


class BridgeBench:
    """Owns everything it opens; ``close`` closes it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bridge-")  # short: the names of sockets have a limit
        self.folder = Path(self._folder.name)
        self.context: zmq.Context[Any] = zmq.Context()
        self.bridge: Bridge | None = None
        self.consumers: list[BenchConsumer] = []
        self.front_ends: list[FrontEnd] = []
        self.faults: list[FaultRaised] = []
        self.endpoint = f"ipc://{self.folder}/probe.ipc"
        self._hearing: Subscriber | None = None

    def open_bridge(self, *, transport: str = "ipc", settle_s: float = 0.0, **bridge: Any) -> str:
        """A bridge, and its endpoint. Called again: another one in the same place."""
        if transport == "tcp" and not self.endpoint.startswith("tcp"):
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        reopened, opened = self._hearing is not None and self.bridge is None, None
        config = Config(run_dir=str(self.folder), bridge=BridgeConfig(endpoint=self.endpoint, **bridge))
        deadline = time.monotonic() + PATIENCE_S
        while opened is None:
            try:
                opened = Bridge(self.context, config, settle_s=settle_s)
            except EndpointUnusable:  # of the bridge before: ZeroMQ closes in the background
                if not reopened or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.bridge = opened
        if self._hearing is None:
            self._hearing = Subscriber(self.context, ipc(self.folder, "bridge"), (FaultRaised,))
        return self.endpoint

    def consume(self, name: str, queue: int = 100) -> BenchConsumer:
        """A consumer, connected."""
        assert self.bridge
        consumer = BenchConsumer(self.context, self.folder, name, queue)
        self.consumers.append(consumer)
        queues = {c.name: c.queue for c in self.bridge._consumers}
        self.step_until(lambda: queues[name].taken)
        return consumer

    def lose(self, consumer: BenchConsumer) -> None:
        """As if ``consumer`` had died; the bridge has noticed."""
        assert self.bridge
        self.consumers.remove(consumer)
        consumer.close()
        queues = {c.name: c.queue for c in self.bridge._consumers}
        self.step_until(lambda: not queues[consumer.name].taken)

    def front_end(self, **options: Any) -> FrontEnd:
        """A front end of this bridge."""
        self.front_ends.append(FrontEnd(self.endpoint, **options))
        return self.front_ends[-1]

    def step(self) -> None:
        """One step of everybody."""
        if self.bridge:
            self.bridge.step()
        for consumer in self.consumers:
            if consumer.taking:
                consumer.take()
        while self._hearing and (fault := self._hearing.receive()) is not None:
            assert isinstance(fault, FaultRaised)
            self.faults.append(fault)

    def step_until(self, done: Callable[[], bool]) -> None:
        """Step until ``done``; the test fails where that does not come."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"counts {self.counts}, faults {self.fault_names}"
            self.step()

    def step_for(self, seconds: float) -> None:
        """Step for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.step()

    @property
    def counts(self) -> dict[str, int]:
        """Of the bridge's status."""
        return self.bridge.status().counts if self.bridge else {}

    @property
    def fault_names(self) -> list[str]:
        """Of the faults heard so far."""
        return [fault.name for fault in self.faults]

    def stop_bridge(self) -> None:
        """Close the bridge; front ends and consumers stay."""
        if self.bridge:
            self.bridge.close()
            self.bridge = None

    def close(self) -> None:
        """Everything, in the order of the frames' way."""
        for front_end in self.front_ends:
            front_end.close(0)
        self.stop_bridge()
        for consumer in self.consumers:
            consumer.close()
        if self._hearing:
            self._hearing.close()
        self.context.term()
        self._folder.cleanup()
