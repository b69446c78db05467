"""Sockets between the processes of one device: bounded queues for frames, publish and subscribe for everything else.

All endpoints are ipc files in the run directory. A frame queue is one bounded PUSH per consumer, owned by the bridge: a
consumer may die without another noticing. A publisher numbers what it says, so a subscriber that was too slow knows how much
it missed (PUB drops the newest at its high-water mark, silently). A status carries the numbers of all topics: so the last messages of a
topic cannot be missed unnoticed either.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

import msgspec
import zmq

from edge.errors import SonosweepError
from edge.messages import FaultRaised, MalformedMessage, Message, Status, decode, encode

LONGEST_IPC_PATH = 107  # sun_path, less its final zero
SOCKET_FRAMES = 2
_COUNTER = struct.Struct("<Q")
_READABLE = int(zmq.POLLIN)  # as an enum each comparison makes a new member


class BusError(SonosweepError):
    """The run directory or a socket in it cannot be used."""


def ipc(run_dir: Path, name: str) -> str:
    """The endpoint ``name`` in the run directory, which is made (mode 0750) where it does not exist."""
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    path = (run_dir / f"{name}.ipc").absolute()
    if len(str(path)) > LONGEST_IPC_PATH:
        raise BusError(f"{path} is longer than the {LONGEST_IPC_PATH} characters that a socket's name may have; choose a shorter run_dir")
    return f"ipc://{path}"


def remove_socket_file(endpoint: str) -> None:
    """Remove the file of a closed ipc endpoint; other endpoints have none."""
    if endpoint.startswith("ipc://"):
        Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)


class FrameQueue:
    """The bridge's end of one consumer's frame queue. Full or without a consumer it says so; it never drops."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, frames: int) -> None:
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, frames)
        self._socket.setsockopt(zmq.LINGER, 2000)
        self._endpoint = endpoint
        self._bind()

    def _bind(self) -> None:
        self._socket.bind(self._endpoint)

    def offer(self, message: Message, patience_ms: int = 0) -> bool:
        """Queue ``message``; False where that was not possible within ``patience_ms``."""
        parts = encode(message)
        deadline = time.monotonic() + patience_ms / 1000
        while True:
            try:
                self._socket.send_multipart(parts, zmq.DONTWAIT, copy=False)
            except zmq.Again:
                left_ms = int(1000 * (deadline - time.monotonic()))
                if left_ms <= 0:
                    return False
                self._socket.poll(left_ms, zmq.POLLOUT)
            else:
                return True

    def close(self, linger_ms: int = 2000) -> None:
        """Give the consumer ``linger_ms`` to take what is queued, then close."""
        self._socket.close(linger_ms)
        remove_socket_file(self._endpoint)


class FrameIntake:
    """A consumer's end of its frame queue. The queue itself is the bridge's: here only a frame or two wait.

    libzmq lets a sender go on only after half the receiver's bound was taken: with a bound of 32 a slow consumer was served in
    bursts of 16 frames and the probe could not be held back evenly (3 of 4 frames lost; with 2: none).
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, frames: int = SOCKET_FRAMES) -> None:
        self.socket = context.socket(zmq.PULL)
        self.socket.setsockopt(zmq.RCVHWM, frames)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(endpoint)

    def receive(self) -> Message | None:
        """The next message, or None where none waits. Arrays view the received bytes."""
        return _receive(self.socket)

    def close(self) -> None:
        """Close at once."""
        self.socket.close(0)


class Publisher:
    """Says messages to whoever listens; never waits for them. ``faults`` counts the faults said, for the status."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, messages: int = 1000) -> None:
        self._socket = context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, messages)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.bind(endpoint)
        self._endpoint = endpoint
        self._said: dict[str, int] = {}
        self.faults: dict[str, int] = {}

    def say(self, message: Message) -> None:
        """Send to all current subscribers of its topic."""
        if isinstance(message, FaultRaised):
            self.faults[message.name] = self.faults.get(message.name, 0) + 1
        topic, *rest = encode(message)
        said = self._said[message.topic] = self._said.get(message.topic, 0) + 1
        number = msgspec.msgpack.encode(self._said) if isinstance(message, Status) else _COUNTER.pack(said)
        self._socket.send_multipart([topic, number, *rest], copy=False)

    def said(self, kind: type[Message]) -> int:
        """How many messages of this kind were said so far."""
        return self._said.get(kind.topic, 0)

    def close(self) -> None:
        """Close; what is queued has a second to leave. The socket's file goes too (libzmq leaves it)."""
        self._socket.close(1000)
        remove_socket_file(self._endpoint)


class Subscriber:
    """Hears the topics of one publisher. ``missed`` counts what was said and not heard since the first message or status."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, types: tuple[type[Message], ...], messages: int = 1000
    ) -> None:
        self.socket = context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, messages)
        self.socket.setsockopt(zmq.LINGER, 0)
        self._topics = [kind.topic for kind in sorted(types, key=lambda kind: kind is Status)]  # whoever hears a status hears the rest
        for topic in self._topics:
            self.socket.subscribe(topic.encode())
        self.socket.connect(endpoint)
        self.missed = 0
        self._heard: dict[str, int] = {}

    def receive(self) -> Message | None:
        """The next message, or None where none waits."""
        if not _waits(self.socket):
            return None
        try:
            topic, counter, *rest = self.socket.recv_multipart(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return None
        key = topic.bytes.decode()
        said = dict.fromkeys(self._topics, 0) | _numbers(counter.bytes) if key == Status.topic else {key: _COUNTER.unpack(counter.bytes)[0]}
        self._count({topic: said[topic] for topic in self._topics if topic in said}, now=key)
        return decode([topic.bytes, *(part.buffer for part in rest)])

    def heard(self, kind: type[Message]) -> int:
        """The publisher's number of the last message of this kind that was heard, or is known to be missed."""
        return self._heard.get(kind.topic, 0)

    def _count(self, said: dict[str, int], now: str) -> None:
        """``said``: the publisher's numbers, of which that of the topic ``now`` belongs to the message that was just heard."""
        new = {topic: number - (topic == now) for topic, number in said.items()}  # less what has just arrived
        if any(number < self._heard.get(topic, 0) for topic, number in new.items()):
            self._heard.clear()  # the publisher was started again
        self.missed += sum(number - self._heard.get(topic, number) for topic, number in new.items())
        self._heard |= said

    def close(self) -> None:
        """Close at once."""
        self.socket.close(0)


def _numbers(part: bytes) -> dict[str, int]:
    try:
        return msgspec.msgpack.decode(part, type=dict[str, int])
    except msgspec.MsgspecError as wrong:
        raise MalformedMessage(f"the numbers of a status cannot be read: {wrong}") from wrong


def _waits(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message may be taken: asking costs a tenth of an exception, and mostly none waits."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & _READABLE)


def _receive(socket: zmq.Socket[bytes]) -> Message | None:
    if not _waits(socket):
        return None
    try:
        parts = socket.recv_multipart(zmq.DONTWAIT, copy=False)
    except zmq.Again:
        return None
    if len(parts) < 2:
        raise MalformedMessage(f"a message has at least 2 parts, got {len(parts)}")
    return decode([part.buffer for part in parts])
