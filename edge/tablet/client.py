"""One tablet on the link: its socket, what waits for it, and the one task that writes to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

import msgspec
from aiohttp import web

from edge.console import say
from edge.tablet.allowance import Allowance
from edge.tablet.feed import ClientFeed
from edge.tablet.sweep import Shown

TEXTS_WAITING = 2000  # a minute of poses: a tablet that far behind is let go and comes back
IDLE_S = 0.25
NOTSENT_LOWAT, UNSENT_BYTES = 25, 32 << 10  # TCP_NOTSENT_LOWAT of Linux: the kernel would queue a second of what is old by then
COMMANDS_PER_S = 50


class Client:
    """Who it is (``name``, ``role``), and at which ``host`` it sees the device. ``tell`` queues a text; the rest comes from its feed."""

    def __init__(self, ws: web.WebSocketResponse, name: str, role: str, images_per_s: float, host: str) -> None:
        self.ws, self.name, self.role, self.host = ws, name, role, host
        self.feed = ClientFeed(images_per_s)
        self.allowance = Allowance(COMMANDS_PER_S, 1.0)
        self.shown: Shown | None = None
        self.malformed = 0
        self._texts: list[bytes] = []
        self._wake = asyncio.Event()
        self._told_end = False

    def show(self, shown: Shown) -> None:
        """From now on this volume: an epoch, the path, and all its bricks."""
        self.shown = shown
        self.feed.show(shown.store, shown.epoch, complete=shown.complete)
        self._told_end = False
        for message in shown.told():
            self.tell(message)

    def again(self) -> None:
        """The page's checksum was wrong: everything once more."""
        if self.shown:
            self.show(self.shown)

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a text message, in order."""
        self._texts.append(msgspec.json.encode(message))
        self.wake()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def writing(self) -> asyncio.Task[None]:
        """The task that sends, until the socket closes or the tablet falls silent. Where it fails the tablet is hung up on."""
        task = asyncio.ensure_future(self._write())
        task.add_done_callback(self._written)
        return task

    def _written(self, task: asyncio.Task[None]) -> None:
        wrong = None if task.cancelled() else task.exception()
        if wrong is None:
            return
        if not isinstance(wrong, ConnectionError):  # of those, a link that is lost is the usual one
            say(f"tablet: {self.name} can be told nothing more: {wrong!r}", "error")
        self._closing = asyncio.ensure_future(self.ws.close(code=1011, message=b"failed"))

    async def _write(self) -> None:
        while not self.ws.closed:
            self._wake.clear()
            now = time.monotonic()
            if len(self._texts) > TEXTS_WAITING or self.feed.overdue(now):
                await self.ws.close(code=4000, message=b"too slow")
                return
            await self._write_texts()
            while (data := self.feed.next_image(now) or self.feed.next_bricks(now)) is not None:
                await self.ws.send_bytes(data)
                await self._write_texts()
                now = time.monotonic()
            self._tell_end()
            with contextlib.suppress(asyncio.TimeoutError):
                turn = self.feed.image_in(now)
                await asyncio.wait_for(self._wake.wait(), 0.02 if self._texts else IDLE_S if turn is None else min(turn, IDLE_S))

    def limit_queue(self, request: web.Request) -> None:
        """Keep the kernel and asyncio from queueing images that are old when they leave."""
        if request.transport is None:
            return
        request.transport.set_write_buffer_limits(high=UNSENT_BYTES)
        if (plain := request.transport.get_extra_info("socket")) is not None:
            plain.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, UNSENT_BYTES)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def _write_texts(self) -> None:
        texts, self._texts = self._texts, []
        for text in texts:
            await self.ws.send_str(text.decode())

    def _tell_end(self) -> None:
        if self.shown is None or self._told_end or not (self.shown.complete and self.feed.complete and self.feed.up_to_date):
            return
        crc32, bricks = self.shown.store.crc32()
        self._told_end = True
        self.tell({"type": "end", "epoch": self.shown.epoch, "crc32": crc32, "bricks": bricks})
