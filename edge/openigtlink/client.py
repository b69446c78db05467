"""One client of the server: what it asks, what it is shown, and the one task that writes to it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

from edge.openigtlink.envelope import HEAD_BYTES, Envelope, open_body, parse_head
from edge.openigtlink.errors import BadHead, MalformedIgtl
from edge.openigtlink.outbox import Outbox

LARGEST_ASKED = 1 << 16  # bytes: questions are small, and images are not taken here
PIECE_BYTES = 1 << 20
STALLED_S = 30.0  # without taking one piece
NOTSENT_LOWAT, UNSENT_BYTES = 25, 512 << 10  # TCP_NOTSENT_LOWAT of Linux: the kernel would queue a second of what is old by then
MALFORMED_LIMIT = 20


class Client:
    """``ask`` is called with each whole message. The header version is 1 until the client shows that it speaks 2."""

    def __init__(self, plain: socket.socket, name: str, ask: Callable[[Client, Envelope], Awaitable[None]]) -> None:
        self.name, self.outbox = name, Outbox()
        self.version = 1
        self.malformed = 0
        self.sent = 0
        self._sending_s = 0.0  # since when a piece has been on its way; 0: none is
        self._socket, self._ask = plain, ask
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, UNSENT_BYTES)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def serve(self) -> str:
        """Until it goes or is let go; answers why."""
        tasks = [asyncio.ensure_future(work) for work in (self._read(), self._write(), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._socket.close()

    async def _write(self) -> str:
        loop = asyncio.get_running_loop()
        try:
            while True:
                message = await self.outbox.next()
                data = memoryview(message.wire(self.version))
                for start in range(0, len(data), PIECE_BYTES):
                    self._sending_s = time.monotonic()
                    await loop.sock_sendall(self._socket, data[start : start + PIECE_BYTES])
                self._sending_s = 0.0
                self.sent += 1
        except OSError as wrong:
            return wrong.strerror or "the connection broke"

    async def _watch(self) -> str:
        """Beside the writer: a timer for each message would cost more than the message."""
        while not self._sending_s or time.monotonic() - self._sending_s < STALLED_S:
            await asyncio.sleep(1)
        return f"it has not read for {STALLED_S:.0f} s"

    async def _read(self) -> str:
        try:
            while True:
                head = parse_head(await self._exactly(HEAD_BYTES), LARGEST_ASKED)
                self.version = max(self.version, head.version)
                body = await self._exactly(head.body_bytes)
                try:
                    await self._ask(self, open_body(head, body))
                except MalformedIgtl as wrong:
                    self.malformed += 1
                    if self.malformed >= MALFORMED_LIMIT:
                        return f"{self.malformed} messages could not be read, the last: {wrong}"
        except (EOFError, ConnectionError):
            return "it hung up"
        except BadHead as wrong:
            return str(wrong)

    async def _exactly(self, size: int) -> bytearray:
        loop, data = asyncio.get_running_loop(), bytearray()
        while len(data) < size:
            piece = await loop.sock_recv(self._socket, size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


def wall_ns() -> int:
    """The time since 1970 at which CLOCK_MONOTONIC was 0."""
    return time.time_ns() - time.monotonic_ns()
