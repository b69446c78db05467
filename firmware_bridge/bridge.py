"""The bridge: takes what front ends send, refuses what is malformed, stamps, counts losses, and hands each frame to every consumer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import zmq

from edge.bus import Publisher, ipc
from edge.config import Config
from edge.daemon import memory_mib
from edge.journal import say_fault
from edge.latency import Latencies
from edge.messages import Buffer, Command, FaultRaised, Frame, Status
from edge.orders import Orders
from edge.peers import Peers, SignOfLife
from edge.services import ALL, SERVICES
from firmware_bridge.arrivals import ClockOffset, Losses
from firmware_bridge.consumers import Tally, open_consumers
from firmware_bridge.errors import MalformedPacket
from firmware_bridge.intake import Intake
from firmware_bridge.sweeps import NO_SWEEP, SWEEPS, Sweeps
from firmware_bridge.wire import decode_frame

SETTLE_S = 2.0  # after a start the front end is held back so long for consumers that are still connecting
WAIT_MS, SETTLING_MS = 200, 50
BUSY_S = 0.1  # then status and faults have their turn
DRAIN_S = 1.0


class Bridge:
    """The service behind ``sonosweep bridge``. Drive :meth:`step`, which returns within half a second; then :meth:`close`.

    What it holds is bounded: ``queue_frames`` messages for each connected front end, the queues of the service table, also in
    bytes (``QUEUE_BYTES``), and a window of clock differences. ``EndpointUnusable``, ``UnprotectedEndpoint``, ``ConfigError``
    or ``BadKey`` at the start.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        *,
        allow_plaintext: bool = False,
        settle_s: float = SETTLE_S,
    ) -> None:
        run_dir = Path(config.run_dir)
        self._intake = Intake(context, config.bridge, allow_plaintext=allow_plaintext)
        self._publisher = Publisher(context, ipc(run_dir, "bridge"))
        self._consumers = open_consumers(context, run_dir)
        self._peers = Peers(context, run_dir, "bridge", [one.name for one in self._consumers if one.name in SERVICES])
        self._orders = Orders("bridge", self._publisher, self._obey)
        self._sweeps: Sweeps = SWEEPS[config.bridge.sweeps]()
        self._silent: set[str] = set()
        self._offset = ClockOffset()
        self._losses, self._lost_in_sweep = Losses(), Losses()  # by the front end's numbers, by those of the sweeps that are handed on
        self._latencies = Latencies()
        self._malformed = Tally()
        self._received = 0
        self._received_last_ns = 0
        self._settled_by: float | None = time.monotonic() + settle_s
        self._life = SignOfLife()

    def step(self) -> None:
        """Take what has come, then say how we are."""
        if self._settled():
            self._wait()
            self._take_waiting(BUSY_S)
        else:
            time.sleep(SETTLING_MS / 1000)
        self._check_peers()
        self._tell_overdue()
        if self._life.due(self.state, idle=not self._receiving):
            self._publisher.say(self.status())

    def take(self, parts: Sequence[Buffer], received_ns: int) -> Frame | None:
        """One message that arrived at ``received_ns``; answers the frame as it was handed on, or None where it was malformed."""
        try:
            frame = decode_frame(parts)
        except MalformedPacket as wrong:
            self._malformed.add(f"{type(wrong).__name__}: {wrong}")
            return None
        offset_ns = self._offset.update(frame.boot_id, frame.timestamp_ns, received_ns)
        frame = msgspec.structs.replace(frame, received_ns=received_ns, clock_offset_ns=offset_ns)
        self._received += 1
        self._received_last_ns = received_ns
        self._losses.note(frame.sweep_key, frame.sequence)
        frame = self._sweeps.assign(frame)
        if frame.sweep != NO_SWEEP:
            self._lost_in_sweep.note(frame.sweep_key, frame.sequence)
        decoded_ns = time.monotonic_ns()
        for consumer in self._consumers:
            if frame.sweep == NO_SWEEP and not consumer.service.shows:
                continue
            self._publish(consumer.take(frame))
            if consumer.told_gone and consumer.queue.taken and consumer.name not in self._silent:
                consumer.told_gone = False
        self._latencies.add("decode", decoded_ns - received_ns)
        self._latencies.add("hand_over", time.monotonic_ns() - decoded_ns)
        return frame

    @property
    def state(self) -> str:
        """What it does, in a few words."""
        return "waiting for the other services" if self._settled_by else "receiving" if self._receiving else "idle"

    @property
    def _receiving(self) -> bool:
        return time.monotonic_ns() - self._received_last_ns < 1_000_000_000

    def status(self) -> Status:
        """The sign of life. Counts are since the start, ``lost_in_sweep`` of the sweep that runs."""
        counts = {
            "received": self._received,
            "malformed": self._malformed.total,
            "lost": self._losses.total,
            "lost_in_sweep": self._lost_in_sweep.in_sweep,
            "operator_sweep": int(self._sweeps.running),
        }
        return Status(
            service="bridge",
            state=self.state,
            counts=counts
            | {f"to_{consumer.name}_dropped": consumer.dropped for consumer in self._consumers}
            | {f"to_{consumer.name}_waiting": len(consumer.waiting) for consumer in self._consumers},
            latency_ms=self._latencies.summary(),
            faults=self._publisher.faults,
            health={"memory_mib": memory_mib()},
        )

    def close(self) -> None:
        """Hand on what has already come, for a second at most; then close everything."""
        self._take_waiting(DRAIN_S)
        self._publisher.say(self.status())
        self._intake.close()
        for consumer in self._consumers:
            consumer.hand_over(DRAIN_S)
            consumer.queue.close()
        self._peers.close()
        self._publisher.close()

    def _wait(self) -> None:
        """Until something comes in, be it a command, or somebody takes what waits for him; at most WAIT_MS."""
        poller = zmq.Poller()
        for socket in (self._intake.socket, *self._peers.commanders):
            poller.register(socket, zmq.POLLIN)
        for consumer in self._consumers:
            if consumer.waiting:
                poller.register(consumer.queue.socket, zmq.POLLOUT)
        poller.poll(WAIT_MS)
        for consumer in self._consumers:
            consumer.hand_over()

    def _take_waiting(self, longest_s: float) -> None:
        deadline = time.monotonic() + longest_s
        while time.monotonic() < deadline and (parts := self._intake.receive()) is not None:
            self.take(parts, time.monotonic_ns())

    def _settled(self) -> bool:
        """Whether to take frames yet: a frame taken before the recorder has connected would be missing from the recording."""
        if self._settled_by is None:
            return True
        if time.monotonic() < self._settled_by and not all([c.queue.taken or c.service.shows for c in self._consumers]):
            return False
        self._settled_by = None
        return True

    def _check_peers(self) -> None:
        silent = {fault.name for fault in self._peers.check()}
        for consumer in self._consumers:
            if said := self._peers.statuses.get(consumer.name):
                consumer.safe(said.safe_ns)
            if self._peers.alive(consumer.name):
                self._silent.discard(consumer.name)
            if ALL[consumer.name].gone in silent:
                self._silent.add(consumer.name)
                self._publish(consumer.gone(None, "it has fallen silent"))
        self._orders.hear(self._peers.said)
        self._peers.said.clear()

    def _obey(self, command: Command) -> tuple[str, str]:
        if command.action == "start":
            return self._sweeps.start(), ""
        return (self._sweeps.stop(time.monotonic_ns()) if command.action == "stop" else "UNKNOWN_COMMAND"), ""

    def _tell_overdue(self) -> None:
        if detail := self._malformed.due():
            self._publish([FaultRaised(service="bridge", name="MALFORMED_FRAMES", detail=detail)])
        for consumer in self._consumers:
            self._publish(consumer.overdue())

    def _publish(self, faults: list[FaultRaised]) -> None:
        for fault in faults:
            say_fault(fault)
            self._publisher.say(fault)
