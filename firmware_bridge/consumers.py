"""The bridge's ends of the frame queues: one for each service that gets frames, and what is said when a frame is refused.

The recorder is served first and is never dropped from: once its queue is full, the rest of that sweep is withheld from it, so
that a recording has no silent hole. For a recorder that has gone frames wait as for a slow one, and what it had not yet on the
disk is kept and given to the next. The reconstructor is waited for (which holds the probe back) until it has failed once.

The queue is ours and the socket behind it holds two frames: ZeroMQ lets the writer of a full queue go on only when the reader
has emptied half of it, so a queue of 32 for a reconstructor of 50 frames/s would stand still for a third of a second, take
that for a failure, and drop three frames in four instead of holding the probe back (measured).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from edge.bus import SOCKET_FRAMES, FrameQueue, ipc
from edge.faults import FAULTS, Effect
from edge.messages import FaultRaised, Frame
from edge.services import ALL, SERVICES, Service

FULL = {"record": "RECORDER_OVERFLOW", "run": "RECONSTRUCTOR_BEHIND"}  # in the order in which they are served
FULL_EFFECT = {name: FAULTS[fault].effect for name, fault in FULL.items()}
QUEUE_BYTES = 512 << 20  # of pixels in one queue, whatever its bound in frames: 256 frames of 1920 x 1080 fit, 16 of the largest
TELL_EVERY_S = 1.0


class WatchedQueue(FrameQueue):
    """A frame queue that knows whether somebody takes from it, so that a full queue is not mistaken for a dead consumer."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, frames: int) -> None:
        super().__init__(context, endpoint, frames)
        self.broken = 0  # connections so far
        self._connections: set[int] = set()

    def _bind(self) -> None:
        """Watched from before anybody can connect: whoever is not seen to come is not seen to go either."""
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        super()._bind()

    @property
    def taken(self) -> bool:
        """A consumer is connected."""
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            connection = int(event["value"])
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._connections.add(connection)
            else:
                self.broken += 1
                self._connections.discard(connection)
        return bool(self._connections)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To be polled for room."""
        return self._socket

    def wait_for_room(self, longest_ms: int) -> None:
        """Until one more message may fit."""
        self._socket.poll(longest_ms, zmq.POLLOUT)

    def close(self, linger_ms: int = 2000) -> None:
        """Give the consumer ``linger_ms`` to take what is queued, then close."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        super().close(linger_ms)


class Tally:
    """Something that may happen at every frame and is told at most once a second, with how often it happened."""

    def __init__(self) -> None:
        self.total = 0
        self._untold = 0
        self._last = ""
        self._told = -TELL_EVERY_S

    def add(self, what: str) -> None:
        """It happened again."""
        self.total += 1
        self._untold += 1
        self._last = what

    def due(self) -> str:
        """What to tell now, or nothing."""
        now = time.monotonic()
        if not self._untold or now - self._told < TELL_EVERY_S:
            return ""
        told, self._untold, self._told = self._untold, 0, now
        return f"{told} x, the last: {self._last}"


class Consumer:
    """A service that gets every frame, through its own queue. ``dropped`` counts those that it did not get."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run_dir: Path, name: str, service: Service) -> None:
        self.name = name
        self.service = service
        self.dropped = 0
        self.waiting: deque[Frame] = deque()  # at most service.queue_frames and QUEUE_BYTES
        self.queue = WatchedQueue(context, ipc(run_dir, f"frames.{name}"), SOCKET_FRAMES)
        self.told_gone = False
        self._keeps = FULL_EFFECT.get(name) is Effect.STOP_RECORDING
        self._unsafe: deque[Frame] = deque()  # given to a recorder that has not yet said they are safe; within the queue's bounds
        self._broken = 0  # connections that we know of
        self._was_there = False
        self._patient = True
        self._withheld: tuple[int, int] | None = None  # the sweep whose queue overflowed
        self._unheard: FaultRaised | None = None  # an overflow while nobody was there to hear of it
        self._behind = Tally()

    def take(self, frame: Frame) -> list[FaultRaised]:
        """Queue ``frame``, or count it and say why not."""
        if frame.sweep_key == self._withheld:
            self.dropped += 1
            return []
        if not self.queue.taken:
            self._forget()
        self._wait_for_room(frame)
        if self._full(frame):
            return self._refuse(frame)
        self.waiting.append(frame)
        self.hand_over()
        if self.queue.taken:
            self._patient = True
            return []
        if self._keeps and self._was_there:
            return self.gone(frame, "it is not connected; what comes waits for it")
        if self.waiting and self.waiting[-1] is frame:  # else it took the frame and died with it
            self.waiting.pop()
        return self._refuse(frame)

    def safe(self, received_ns: int) -> None:
        """The recorder has on the disk what was received until then."""
        while self._unsafe and self._unsafe[0].received_ns <= received_ns:
            self._unsafe.popleft()

    def hand_over(self, longest_s: float = 0.0) -> None:
        """Give it what waits, as far as it takes that within ``longest_s``."""
        self._look()
        deadline = time.monotonic() + longest_s
        while self.waiting:
            if self.queue.offer(self.waiting[0]):
                given = self.waiting.popleft()
                if self._keeps:
                    self._unsafe.append(given)
            elif time.monotonic() < deadline and self.queue.taken:
                self.queue.wait_for_room(int(1000 * (deadline - time.monotonic())) + 1)
            else:
                break

    def _look(self) -> None:
        """Whether it is there, and whether a recorder has died: what was not yet safe with it comes first when it is back."""
        self._was_there = self.queue.taken or self._was_there
        if self.queue.broken != self._broken:
            self._broken = self.queue.broken
            self.waiting.extendleft(reversed(self._unsafe))
            self._unsafe.clear()

    def _forget(self) -> None:
        """It has died. Old images are of no use to a live view."""
        if not self._keeps:
            self.dropped += len(self.waiting)
            self.waiting.clear()

    def _full(self, frame: Frame) -> bool:
        """No room for ``frame``, even when all that is unsafe is forgotten. An empty queue has room for one of any size."""
        while self._unsafe and self._too_much(chain(self._unsafe, self.waiting), frame):
            self._unsafe.popleft()
        return self._too_much(self.waiting, frame)

    def _too_much(self, held: Iterable[Frame], frame: Frame) -> bool:
        sizes = [one.pixels.nbytes for one in held]
        return len(sizes) >= self.service.queue_frames or (bool(sizes) and sum(sizes) + frame.pixels.nbytes > QUEUE_BYTES)

    def _wait_for_room(self, frame: Frame) -> None:
        deadline = time.monotonic() + (self.service.patience_ms / 1000 if self._patient else 0)
        self.hand_over()
        while self._full(frame) and self.queue.taken and (left_s := deadline - time.monotonic()) > 0:
            self.queue.wait_for_room(int(1000 * left_s) + 1)
            self.hand_over()

    def _refuse(self, frame: Frame) -> list[FaultRaised]:
        self._patient = False
        self.dropped += 1
        gone = [] if self.queue.taken else self.gone(frame, "it is not connected")
        if self._keeps and self._was_there:
            self._withheld = frame.sweep_key
            overflow = _fault(FULL[self.name], f"{len(self.waiting)} frames were waiting", frame)
            if not self.queue.taken and self._unheard is None:
                self._unheard = overflow
            return [*gone, overflow]
        if not self.queue.taken:
            return gone
        self._behind.add(f"frame {frame.sequence} of sweep {frame.sweep}")
        return self.overdue()

    def gone(self, frame: Frame | None, detail: str) -> list[FaultRaised]:
        """The fault that it is gone, the first time after it was there."""
        if self.told_gone:
            return []
        self.told_gone = True
        return [_fault(self.service.gone, detail, frame)]

    def overdue(self) -> list[FaultRaised]:
        """What is to be told now: frames that it was too slow for; of a recorder that was away, why what it got has no end."""
        if self._unheard and self.queue.taken and not self.waiting:
            unheard, self._unheard = self._unheard, None
            return [unheard]
        detail = self._behind.due()
        return [_fault(FULL[self.name], detail)] if detail else []


class Viewer(Consumer):
    """A service that only shows frames: the newest takes the place of one that waits. ``dropped`` counts what was not shown."""

    def take(self, frame: Frame) -> list[FaultRaised]:
        """Queue ``frame`` where somebody looks."""
        if not self.queue.taken:
            self.waiting.clear()
            return []
        if len(self.waiting) >= self.service.queue_frames:
            self.waiting.popleft()
            self.dropped += 1
        self.waiting.append(frame)
        self.hand_over()
        return []


def open_consumers(context: zmq.Context[zmq.Socket[bytes]], run_dir: Path) -> list[Consumer]:
    """One for each service of the table that gets frames, in the order in which they are served: who only shows them comes last."""
    keepers = [Consumer(context, run_dir, name, SERVICES[name]) for name in FULL]
    return [*keepers, *(Viewer(context, run_dir, name, service) for name, service in ALL.items() if service.shows)]


def _fault(name: str, detail: str, frame: Frame | None = None) -> FaultRaised:
    if frame is None:
        return FaultRaised(service="bridge", name=name, detail=detail)
    return FaultRaised(service="bridge", name=name, detail=detail, boot_id=frame.boot_id, sweep=frame.sweep, sequence=frame.sequence)
