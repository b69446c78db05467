"""The server: one more viewer on the bus, and any number of clients that cannot hold it or each other up."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import zmq

from edge.compounding.scan_conversion import BadSector
from edge.console import say
from edge.daemon import memory_mib
from edge.errors import SonosweepError
from edge.messages import Bricks, Message, Status, SweepEnded
from edge.openigtlink.client import Client, wall_ns
from edge.openigtlink.envelope import Envelope
from edge.openigtlink.grown import LARGEST_BYTES, GrownVolume, NoVolume
from edge.openigtlink.outbox import Outgoing
from edge.openigtlink.requests import Request, read_request
from edge.openigtlink.scene import POSE, VOLUMES, Scene, not_found, volume_device, volume_message
from edge.tablet.bus_link import BusLink
from edge.tablet.control import NoGateway, ask

CLIENTS = 16
PORT = 18944
CAPABILITIES = ("IMAGE", "TRANSFORM", "TDATA", "STATUS", "STRING", "COMMAND")


class PortTaken(SonosweepError):
    """The server cannot listen where it was told to."""


class IgtlServer:
    """Drive :meth:`run`. ``read_only``: clients may look and not start or stop anything."""

    def __init__(self, run_dir: Path, listening: socket.socket, *, read_only: bool = False) -> None:
        self.clients: list[Client] = []
        self.scene = Scene()
        self.volume = GrownVolume()
        self._run_dir, self._listening, self._read_only = run_dir, listening, read_only
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._link = BusLink(self._context, run_dir, "igtl")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._commanding = asyncio.Lock()
        self._cutting = asyncio.Lock()
        self._taken = 0

    async def run(self) -> None:
        """Until cancelled."""
        self._begin(self._accept())
        try:
            async for message in self._link.messages(self.status):
                self.hear(message)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._link.close(self.status())
            self._context.destroy(0)
            self._listening.close()

    def hear(self, message: Message) -> None:
        """Show what a message of the bus changes."""
        now_s, epoch_ns = time.monotonic(), wall_ns()
        self.scene.wanted = bool(self.clients)
        if isinstance(message, Bricks):
            self.volume.take(message)
            return
        try:
            shown = self.scene.feed(message, now_s, epoch_ns)
        except BadSector as wrong:
            say(f"igtl: an image cannot be drawn: {wrong}")
            return
        for one in (*shown, *self.scene.tick(now_s, epoch_ns)):
            self._show(one)
        if isinstance(message, SweepEnded) and message.service == "run" and self.clients:
            self._begin(self._show_volumes())

    def status(self) -> Status:
        """The sign of life."""
        counts = {
            "clients": len(self.clients),
            "sent": self._taken + sum(client.sent for client in self.clients),
            "not_shown": sum(client.outbox.dropped for client in self.clients),
            "poses_heard": self._link.poses_heard,
        }
        return Status(service="igtl", state="serving", counts=counts, faults=self._link.faults, health={"memory_mib": memory_mib()})

    async def asked(self, client: Client, envelope: Envelope) -> None:
        """One message of a client. What is not known is passed over, as the protocol wants it. ``MalformedIgtl``."""
        kind, now_s, epoch_ns = envelope.kind, time.monotonic(), wall_ns()
        if kind in ("COMMAND", "STRING"):
            self._begin(self._obey(client, read_request(envelope)))
        elif kind == "GET_STATUS":
            client.outbox.answer(self.scene.status(now_s, epoch_ns))
        elif kind == "GET_CAPABIL":
            names = b"".join(name.encode().ljust(12, b"\0") for name in CAPABILITIES)
            client.outbox.answer(Outgoing("CAPABILITY", "sonosweep", epoch_ns + int(now_s * 1e9), [names]))
        elif kind == "GET_IMAGE" and envelope.device.startswith(VOLUMES):
            self._begin(self._send_one_volume(client, envelope.device))
        elif kind in ("GET_IMAGE", "GET_TRANS"):
            wanted = POSE if kind == "GET_TRANS" else envelope.device or "Image_Reference"
            if (last := self.scene.last.get(wanted)) is not None:
                client.outbox.answer(last)
        elif kind == "STT_TDATA":  # answered by the data: 3D Slicer has crashed on the RTS_TDATA that the protocol wants first
            self.scene.tracked = True

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            plain, address = await loop.sock_accept(self._listening)
            if len(self.clients) >= CLIENTS:
                plain.close()
                say(f"igtl: {address[0]} was turned away: {CLIENTS} clients are connected")
                continue
            self._begin(self._serve(Client(plain, f"{address[0]}:{address[1]}", self.asked)))

    async def _serve(self, client: Client) -> None:
        self.clients.append(client)
        say(f"igtl: {client.name} is connected")
        try:
            why = await client.serve()
            say(f"igtl: {client.name} is gone: {why}")
        finally:
            self.clients.remove(client)
            self._taken += client.sent

    def _show(self, message: Outgoing) -> None:
        for client in self.clients:
            client.outbox.show(message)

    async def _obey(self, client: Client, request: Request) -> None:
        done, text = await self._done(request)
        client.outbox.answer(request.answer(done, text, time.time_ns()))

    async def _done(self, request: Request) -> tuple[bool, str]:
        if not request.known:
            return False, f"{request.word} is not known here; there are start, stop and snapshot"
        if request.word == "snapshot":
            return await self._show_volumes()
        if self._read_only:
            return False, "this server only shows (--read-only)"
        async with self._commanding:
            try:
                told = await asyncio.to_thread(ask, self._run_dir, request.word)
            except NoGateway as wrong:
                return False, str(wrong)
        return not told.get("error"), str(told.get("text") or told.get("error") or "done")

    async def _show_volumes(self) -> tuple[bool, str]:
        return await self._send_volumes(self.clients)

    async def _send_one_volume(self, client: Client, device: str) -> None:
        done, why = await self._send_volumes([client], device)
        if not done:
            client.outbox.answer(not_found(device, why, time.time_ns()))

    async def _send_volumes(self, clients: list[Client], device: str = "") -> tuple[bool, str]:
        """Of every channel, or of the one called ``device``: all of them before the first is shown."""
        made, told = [], []
        async with self._cutting:
            try:
                cuts = self.volume.cuts(lambda name: device in ("", volume_device(name)))
                for name, cut in cuts.items():
                    voxels, matrix = await asyncio.to_thread(cut.dense, LARGEST_BYTES // len(cuts))
                    made.append(volume_message(name, voxels, matrix, time.time_ns()))
                    told.append(f"{made[-1].device}: {' x '.join(map(str, voxels.shape[::-1]))} voxels")
            except NoVolume as wrong:
                return False, str(wrong)
            versions = {client.version for client in clients}
            await asyncio.to_thread(lambda: [message.wire(version) for message in made for version in versions])
            for message in made:
                for client in clients:
                    client.outbox.show(message)
        return True, ", ".join(told)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def listen(address: str, port: int) -> socket.socket:
    """A listening socket. ``PortTaken``."""
    try:
        listening = socket.create_server((address, port), backlog=16)
    except OSError as wrong:
        raise PortTaken(f"{address}:{port} cannot be used: {wrong.strerror}; choose another --address or --port") from wrong
    listening.setblocking(False)
    return listening
