"""A connection to an OpenIGTLink server, opened again and again, as sweeps of frames."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

from edge.console import say
from edge.errors import SonosweepError
from edge.messages import Frame
from edge.openigtlink.envelope import HEAD_BYTES, Envelope, Head, open_body, parse_head
from edge.openigtlink.errors import BadHead, MalformedIgtl, TooLarge
from firmware_bridge.igtl_frames import IgtlFrames

TAKEN = ("IMAGE", "TRANSFORM", "TDATA")
LARGEST_BODY = 64 << 20  # an image of 4096 x 4096 in 16 bits, and colours; longer ones are passed over without being kept
CONNECT_S = 5.0
MESSAGE_S = 10.0  # within one message, from one piece to the next
WAIT_S = (0.25, 0.5, 1.0, 2.0, 4.0)  # before it is tried again
MALFORMED_LIMIT = 100  # in a row: then the connection is opened anew
SAY_AGAIN_S = 10.0


class BadAddress(SonosweepError):
    """An address is not HOST:PORT."""


def parse_address(text: str, port: int = 18944) -> tuple[str, int]:
    """``BadAddress``. IPv6 in brackets."""
    host, colon, number = text.rpartition(":")
    if not colon or "]" in number:
        host, number = text, str(port)
    if not host.strip("[]") or not number.isdigit() or not 0 < int(number) < 65536:
        raise BadAddress(f"{text} is no address; it reads like 192.168.1.30:{port}")
    return host.strip("[]"), int(number)


class IgtlSource:
    """``sweep`` gives the frames of one sweep: until the server is silent for ``silent_s``, or hangs up. ``stopped`` after Ctrl-C."""

    def __init__(self, address: tuple[str, int], frames: IgtlFrames, silent_s: float = 2.0) -> None:
        self.stopped = False
        self.connections = 0
        self._address, self._frames, self._silent_s = address, frames, silent_s
        self._socket: socket.socket | None = None
        self._tried = 0
        self._malformed = 0
        self._said_s: dict[str, float] = {}

    def sweep(self) -> Iterator[Frame]:
        """Waits for the first frame as long as that takes."""
        begun = False
        try:
            while True:
                for frame in self._next(self._silent_s if begun else None):
                    begun = True
                    yield frame
        except EOFError:
            pass
        except KeyboardInterrupt:
            self.stopped = True
        yield from self._frames.rest()

    def close(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _next(self, longest_s: float | None) -> list[Frame]:
        """The frames that the next message makes; ``EOFError`` where the sweep is over."""
        if self._socket is None:
            self._socket = self._connected()
        try:
            envelope = self._receive(self._socket, longest_s)
            frames = self._frames.hear(envelope, time.time_ns()) if envelope else []
            self._malformed = 0
            return frames
        except TimeoutError:
            raise EOFError from None
        except BadHead as wrong:
            self._lose(f"{type(wrong).__name__}: {wrong}")
        except MalformedIgtl as wrong:
            self._malformed += 1
            self._say(f"{type(wrong).__name__}: {wrong}")
            if self._malformed >= MALFORMED_LIMIT:
                self._lose(f"{self._malformed} messages in a row could not be read")
        except OSError as wrong:
            self._lose(wrong.strerror or str(wrong) or "it hung up")
        if self._socket is None and longest_s is not None:
            raise EOFError
        return []

    def _receive(self, plain: socket.socket, longest_s: float | None) -> Envelope | None:
        """None for what is of no use. ``TimeoutError`` where no message begins within ``longest_s``."""
        if not select.select([plain], [], [], longest_s)[0]:
            raise TimeoutError
        head = parse_head(_exactly(plain, HEAD_BYTES))
        if head.kind not in TAKEN or head.body_bytes > LARGEST_BODY:
            _pass_over(plain, head)
            if head.kind in TAKEN:
                self._say(f"{TooLarge.__name__}: {head.kind} {head.device} of {head.body_bytes >> 20} MiB was passed over")
            return None
        return open_body(head, _exactly(plain, head.body_bytes))

    def _connected(self) -> socket.socket:
        while True:
            if self._tried:
                time.sleep(WAIT_S[min(self._tried, len(WAIT_S)) - 1])
            self._tried += 1
            try:
                plain = socket.create_connection(self._address, CONNECT_S)
            except OSError as wrong:
                self._say(f"no server answers at {self._address[0]}:{self._address[1]} ({wrong.strerror or wrong}); trying again")
                continue
            plain.settimeout(MESSAGE_S)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._tried, self._malformed = 1, 0
            self.connections += 1
            say(f"connected to {self._address[0]}:{self._address[1]}")
            return plain

    def _lose(self, why: str) -> None:
        self.close()
        self._say(f"the connection is opened anew: {why}")

    def _say(self, text: str) -> None:
        now = time.monotonic()
        kind = text.partition(":")[0]
        if now - self._said_s.get(kind, -SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._said_s[kind] = now
            say(text)


def _exactly(plain: socket.socket, size: int) -> memoryview:
    data = memoryview(bytearray(size))
    filled = 0
    while filled < size:
        filled += _some(plain, data[filled:])
    return data


def _some(plain: socket.socket, into: memoryview) -> int:
    """At least a byte; ``ConnectionError`` where none comes any more: within a message silence is no end of a sweep."""
    try:
        got = plain.recv_into(into)
    except TimeoutError:
        raise ConnectionError(f"a message broke off for {MESSAGE_S:.0f} s") from None
    if not got:
        raise ConnectionError("it hung up")
    return got


def _pass_over(plain: socket.socket, head: Head) -> None:
    left, scratch = head.body_bytes, memoryview(bytearray(1 << 16))
    while left:
        left -= _some(plain, scratch[: min(left, len(scratch))])
