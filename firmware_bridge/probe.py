"""A front end in software: sends frames as a probe would, and is held back as a probe would be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

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


class NoBridge(SonosweepError):
    """The endpoint is not one that can be connected to."""


class FrontEnd:
    """A PUSH socket with a bounded queue. ``send`` waits where the bridge is slow or away.

    ``keys`` are (own .key_secret, the bridge's .key) for an encrypted link. With ``stamp`` a frame's time is that of sending
    (CLOCK_MONOTONIC); without, it travels as it is. ``sent_ns`` maps the sequence numbers of the current sweep to the
    CLOCK_MONOTONIC time at which they left; ``held_back_s`` is the time spent waiting so far.
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
        self.sent = 0
        self.held_back_s = 0.0
        self.sent_ns: dict[int, int] = {}
        self._last_sent = 0.0
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
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as wrong:
            self.close(0)
            raise NoBridge(f"{endpoint} cannot be connected to: {wrong.strerror}; it reads like tcp://127.0.0.1:5555") from wrong

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
        """Send any message, valid or not; answers when it left (CLOCK_MONOTONIC, ns), 0 where there was no room for it."""
        begun = time.monotonic()
        complained = False
        while True:
            left_ns = time.monotonic_ns()
            try:
                self._socket.send_multipart(parts, zmq.DONTWAIT)
            except zmq.Again:
                waited = time.monotonic() - begun
                if patience_s is not None and waited >= patience_s:
                    self.held_back_s += waited
                    return 0
                if waited > COMPLAIN_AFTER_S and not complained:
                    say(f"held back for {waited:.0f} s; is a bridge listening on {self.endpoint}?")
                    complained = True
                self._socket.poll(SLICE_MS, zmq.POLLOUT)
            else:
                self.held_back_s += left_ns / 1e9 - begun
                self.sent += 1
                self._last_sent = time.monotonic()
                return left_ns

    def close(self, linger_s: float = 5.0) -> None:
        """Give what is queued ``linger_s`` to leave; what has not left by then is lost.

        The link stays open for a moment after the last message: libzmq throws away what a peer at its high-water mark has not
        read yet when the sender hangs up (7 to 48 of 200 small messages over ipc; none where the sender waited).
        """
        stay_s = self._last_sent + STAY_S - time.monotonic()
        if linger_s and stay_s > 0:
            time.sleep(stay_s)
        self._socket.close(int(linger_s * 1000))
        self._context.term()

    def __enter__(self) -> FrontEnd:
        return self

    def __exit__(self, *error: object) -> None:
        self.close(0 if error[0] else 5.0)


@dataclass(frozen=True)
class Playing:
    """How a recorded sweep is played. ``rate`` 1 is its own, 0 as fast as it goes."""

    boot_id: int
    rate: float = 1.0
    with_poses: bool = True


def play(frames: Iterable[Frame], front_end: FrontEnd, how: Playing, sweep: int = 0, not_before_ns: int = 0) -> Iterator[Frame]:
    """Send ``frames`` as sweep number ``sweep``; yields each after it has left. The last one is marked as such.

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
