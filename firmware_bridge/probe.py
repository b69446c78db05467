"""A front end in software: sends frames as a probe would, and is held back as a probe would be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from edge.console import say
from edge.errors import SonosweepError
from edge.messages import Frame, Orientation
from firmware_bridge.intake import wrong_with
from firmware_bridge.keys import read_key_pair, read_public_key
from firmware_bridge.wire import encode_frame

QUEUE_FRAMES = 8
SLICE_MS = 100  # so long a wait is deaf to Ctrl-C
COMPLAIN_AFTER_S = 3.0
STAY_S = 0.5
LINGER_S = 5.0


class NoBridge(SonosweepError):
    """The endpoint is not one that can be connected to."""


class FrontEnd:
    """A PUSH socket with a bounded queue. ``send`` waits where the bridge is slow or away.

    ``keys`` are (own .key_secret, the bridge's .key) for an encrypted link. With ``stamp`` a frame's time is that of sending
    (CLOCK_MONOTONIC); without, it travels as it is. ``sent_ns`` maps the sequence numbers of the current sweep to the
    CLOCK_MONOTONIC time at which they were queued; ``held_back_s`` is the time spent waiting so far.

    ``queued`` counts all messages. ``left`` are those that are known to have left the queue, which is not yet to have arrived:
    all of them after a :meth:`close` that found a bridge and emptied the queue, else all but a queue's length.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        keys: tuple[Path, Path] | None = None,
        orientation: Orientation = "MF",
        stamp: bool = False,
        queue_frames: int = QUEUE_FRAMES,
    ) -> None:
        if reason := wrong_with(endpoint):
            raise NoBridge(f"{endpoint} cannot be connected to: {reason}")
        self.endpoint = endpoint
        self.queued = 0
        self.held_back_s = 0.0
        self.sent_ns: dict[int, int] = {}
        self._last_queued = 0.0
        self._queue_frames = queue_frames
        self._connected_at: float | None = None
        self._emptied = False
        self._sweep: tuple[int, int] | None = None
        self._orientation: Orientation = orientation
        self._stamp = stamp
        pair = (*read_key_pair(keys[0]), read_public_key(keys[1])) if keys else None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, queue_frames)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)  # and no heartbeats: see intake.py
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        if pair:
            self._socket.curve_publickey, self._socket.curve_secretkey, self._socket.curve_serverkey = pair
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as wrong:
            self.close(0)
            raise NoBridge(f"{endpoint} cannot be connected to: {wrong.strerror}; it reads like tcp://127.0.0.1:5555") from wrong

    @property
    def connected(self) -> bool:
        """A bridge is connected and has let us in; after :meth:`close`, whether one was."""
        self._hear_link()
        return self._connected_at is not None

    @property
    def left(self) -> int:
        """Messages that are known to have left the queue."""
        return self.queued if self._emptied else max(self.queued - self._queue_frames, 0)

    def send(self, frame: Frame, patience_s: float | None = None) -> bool:
        """Send ``frame``; False where it found no room within ``patience_s`` (None: wait for ever)."""
        if self._stamp:
            frame = msgspec.structs.replace(frame, timestamp_ns=time.monotonic_ns())
        sent = self.send_parts([bytes(part) for part in encode_frame(frame, self._orientation)], patience_s)
        if sent:
            if frame.sweep_key != self._sweep:
                self._sweep = frame.sweep_key
                self.sent_ns.clear()
            self.sent_ns[frame.sequence] = sent
        return bool(sent)

    def send_parts(self, parts: list[bytes], patience_s: float | None = None) -> int:
        """Send any message, valid or not; answers when it was queued (CLOCK_MONOTONIC, ns), 0 where there was no room for it."""
        begun = time.monotonic()
        complained = False
        while True:
            self._hear_link()
            queued_ns = time.monotonic_ns()
            try:
                self._socket.send_multipart(parts, zmq.DONTWAIT)
            except zmq.Again:
                waited = time.monotonic() - begun
                if patience_s is not None and waited >= patience_s:
                    self.held_back_s += waited
                    return 0
                if waited > COMPLAIN_AFTER_S and not complained:
                    why = "the bridge is slow" if self.connected else "no bridge lets us in"
                    say(f"held back for {waited:.0f} s: {why} ({self.endpoint})")
                    complained = True
                self._socket.poll(SLICE_MS, zmq.POLLOUT)
            else:
                self.held_back_s += queued_ns / 1e9 - begun
                self.queued += 1
                self._last_queued = time.monotonic()
                return queued_ns

    def close(self, linger_s: float = LINGER_S) -> None:
        """Give a bridge that is away ``linger_s`` to come, and what is queued as long to leave; what has not left by then is lost.

        The link stays open for a moment after the last message: libzmq throws away what a peer at its high-water mark has not
        read yet when the sender hangs up (7 to 48 of 200 small messages over ipc; none where the sender waited).
        """
        if self._socket.closed:
            return
        linger_ms = 0
        try:
            if linger_s and self.queued and self._await_bridge(linger_s):
                time.sleep(max(max(self._last_queued, self._connected_at or 0.0) + STAY_S - time.monotonic(), 0))
                linger_ms = int(linger_s * 1000)
        finally:
            self._socket.disable_monitor()
            self._monitor.close(0)
            begun = time.monotonic()
            self._socket.close(linger_ms)
            self._context.term()
            self._emptied = 1000 * (time.monotonic() - begun) < linger_ms

    def _hear_link(self) -> None:
        while not self._monitor.closed and self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            self._connected_at = time.monotonic() if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else None

    def _await_bridge(self, longest_s: float) -> bool:
        deadline = time.monotonic() + longest_s
        while not self.connected and time.monotonic() < deadline:
            self._monitor.poll(SLICE_MS)
        return self.connected

    def __enter__(self) -> FrontEnd:
        return self

    def __exit__(self, *error: object) -> None:
        self.close(0 if error[0] else LINGER_S)


@dataclass(frozen=True)
class Playing:
    """How a recorded sweep is played. ``rate`` 1 is its own, 0 as fast as it goes."""

    boot_id: int
    rate: float = 1.0
    with_poses: bool = True


def play(frames: Iterable[Frame], front_end: FrontEnd, how: Playing, sweep: int = 0, not_before_ns: int = 0) -> Iterator[Frame]:
    """Send ``frames`` as sweep number ``sweep``; yields each after it was queued. The last one is marked as such.

    Times keep their distances and are moved later where the first would lie before ``not_before_ns``. A time during which
    the bridge held us back delays all that follows. Ctrl-C (or closing the iterator) ends the sweep with the frame at hand.
    """
    begun = first_ns = None
    shift_ns = 0
    held_before = front_end.held_back_s
    for frame, last in _with_last(frames):
        if begun is None or first_ns is None:
            begun, first_ns = time.monotonic(), frame.timestamp_ns
            shift_ns = max(not_before_ns - first_ns, 0)
        frame = _as_played(frame, how, sweep, last, shift_ns)
        try:
            if how.rate:
                due = begun + (frame.timestamp_ns - shift_ns - first_ns) / 1e9 / how.rate + front_end.held_back_s - held_before
                time.sleep(max(due - time.monotonic(), 0))
            front_end.send(frame)
            yield frame
        except (KeyboardInterrupt, GeneratorExit):
            if frame.sequence not in front_end.sent_ns:
                front_end.send(msgspec.structs.replace(frame, last=True), patience_s=0.5)
            raise


def _as_played(frame: Frame, how: Playing, sweep: int, last: bool, shift_ns: int) -> Frame:
    frame = msgspec.structs.replace(
        frame, boot_id=how.boot_id, sweep=sweep, last=last, timestamp_ns=frame.timestamp_ns + shift_ns, received_ns=0, clock_offset_ns=0
    )
    if how.with_poses:
        return frame
    return msgspec.structs.replace(
        frame, pose_status="missing", image_to_reference=None, pose_source="", pose_direction="", pose_direction_source=""
    )


def _with_last(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    before: Frame | None = None
    for frame in frames:
        if before is not None:
            yield before, False
        before = frame
    if before is not None:
        yield before, True
