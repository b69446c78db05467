"""The gateway: hears the bus, serves the page and its link, keeps the library. All I/O of the tablet stands here and in ``client``."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from edge import clock, health
from edge.caches import BUILDING
from edge.config import Config
from edge.daemon import memory_mib
from edge.journal import say_fault
from edge.light import wavelength_nm
from edge.messages import FaultRaised, Frame, Status
from edge.tablet.branding import read_branding
from edge.tablet.bus_link import BusLink
from edge.tablet.client import Client
from edge.tablet.commands import obey
from edge.tablet.desk import say_failed
from edge.tablet.doors import Doors
from edge.tablet.exports import read_channels
from edge.tablet.feed import Picture
from edge.tablet.lease import Lease
from edge.tablet.library import Library
from edge.tablet.listing import all_listed
from edge.tablet.notes import note_sweeps
from edge.tablet.presets import LANGUAGES
from edge.tablet.privacy import without_patient
from edge.tablet.refusals import Refused
from edge.tablet.session import Session
from edge.tablet.shelf import Shelf
from edge.tablet.sweep import Shown
from edge.tablet.sweep_commands import begin, end
from edge.tablet.wire import IN_SWEEP, LARGEST_TEXT, Ack, MalformedCommand, Request, photoacoustic, read_text

STATE_PERIOD_S = 0.25
HEALTH_PERIOD_S = 5.0
MALFORMED_MOST = 100  # then the tablet is hung up on


class TabletService:
    """Owns the session, the clients and the library. ``run`` serves until it is cancelled."""

    def __init__(self, config: Config, link: BusLink, doors: Doors) -> None:
        self._config, self.link, self._doors = config, link, doors
        self.secure, self.dicom, self.features = config.tablet.secure, config.dicom, config.features
        self.run_dir = Path(config.run_dir)
        self.session = Session(config)
        recordings = Path(config.record.folder)
        self.library = Library(recordings, Path(config.volume.save) if config.volume.save else recordings)
        self.clients: set[Client] = set()
        self.lease = Lease()
        self.exporting: set[str] = set()
        self.asking_worklist = False
        self._saved_epochs = itertools.count(1)
        self._jobs: set[asyncio.Task[None]] = set()
        self._listings = 0
        self._brand = read_branding(config.device) | {"features": msgspec.to_builtins(config.features)}
        self._watch = health.Watch(self.library.recordings, building=self.run_dir / BUILDING)
        self._health_at = self._state_at = -1e9
        doors.serve("/link", self._serve_link)
        doors.serve("/api/unpair", self._unpair)
        self._shelf = Shelf(self.library, doors, self.tell_library, config)

    async def run(self) -> None:
        """Hear the bus and tell the tablets."""
        async for message in self.link.messages(self.status):
            now = time.monotonic()
            for said in self.session.hear(message, now):
                self._tell_live(said)
            if isinstance(message, Frame):
                self._show_image(now)
            note_sweeps(self)
            self._wake(now)

    def status(self) -> Status:
        """The gateway's sign of life, with its faults."""
        self._wake(time.monotonic())
        counts = {"clients": len(self.clients), "jobs": len(self._jobs), "poses_heard": self.link.poses_heard}
        device = {"memory_mib": memory_mib()} | self._watch.figures
        return Status(
            service="tablet", state="serving", counts=counts, faults=self.link.faults, standing=self._watch.standing, health=device
        )

    def fault(self, fault: FaultRaised) -> None:
        """See the protocol."""
        say_fault(fault)
        self.link.raise_fault(fault)
        self.session.hear(fault, time.monotonic())

    def note(self, event: str, who: str, detail: str) -> None:
        """See the protocol."""
        self._doors.audit(event, who, detail)

    def tell_library(self) -> None:
        """See the protocol."""
        self._listings += 1
        self.start_job(self._tell_library(self._listings))

    async def listing(self) -> dict[str, Any]:
        """See the protocol."""
        return {"type": "library", "sweeps": await asyncio.to_thread(all_listed, self.library, patients=self.secure)}

    async def saved(self, sweep: str) -> Shown:
        """See the protocol. Its epoch is this gateway's own: no reconstructor's is so low."""
        record = self.library.record(sweep)

        def load() -> Shown:
            shown = Shown(sweep, next(self._saved_epochs), record.spacing_mm, path=[list(pose) for pose in record.path], complete=True)
            for number, volume in read_channels(self.library, sweep).items():
                shown.store.load(volume, number)
                shown.spacing_mm = volume.spacing_mm
                if number:
                    shown.light[number] = wavelength_nm(volume.metadata.get("channel", ""))
            return shown

        return await asyncio.to_thread(load)

    async def press(self, button: str) -> dict[str, Any]:
        """The device's own start and stop: as the operator's, with the form as it stands."""
        session = self.session
        request = Request(0, button, exam=session.exam, preset=session.preset, direction=session.direction)
        try:
            return await (begin(self, request) if button == "start" else end(self))
        except Refused as wrong:
            return {"error": wrong.name, "text": wrong.text}

    def start_job(self, work: Coroutine[Any, Any, None]) -> None:
        """See the protocol."""
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        job.add_done_callback(say_failed)

    def look_again(self) -> None:
        """See the protocol."""
        self._health_at = self._state_at = -1e9

    def open_pairing(self, seen_at: str) -> dict[str, Any]:
        """See the protocol."""
        return self._doors.open_pairing(seen_at)

    def close_pairing(self) -> dict[str, Any]:
        """See the protocol."""
        return self._doors.close_pairing()

    def paired(self) -> list[dict[str, Any]]:
        """See the protocol."""
        return self._doors.paired()

    async def revoke(self, tablet: str) -> None:
        """See the protocol."""
        self._doors.revoke(tablet)
        self.lease.revoke(tablet)
        for client in [client for client in self.clients if client.name == tablet]:
            await client.ws.close(code=4001, message=b"revoked")

    async def close(self) -> None:
        """Hang up on everybody; finish what is being written."""
        for client in list(self.clients):
            await client.ws.close(code=1012, message=b"the device is stopping")
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=20)
        self.link.close(self.status())

    async def _serve_link(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(compress=False, max_msg_size=LARGEST_TEXT, heartbeat=10)
        who = self._doors.who(request)
        if len(self.clients) >= self._config.tablet.clients:
            return self._doors.refuse(request, "TOO_MANY")
        await ws.prepare(request)
        client = Client(ws, who.name, who.role, self._config.tablet.frames_per_s, request.host)
        client.limit_queue(request)
        client.tell(self._hello(client))
        client.show(self.session.shown)
        self.clients.add(client)
        self.lease.come(client, time.monotonic())
        writes = client.writing()
        try:
            async for said in ws:
                if said.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._hear(client, said.data)
        finally:
            self.clients.discard(client)
            self.lease.gone(client, self.clients, time.monotonic())
            writes.cancel()
            await asyncio.gather(writes, return_exceptions=True)
        return ws

    async def _unpair(self, request: web.Request) -> web.StreamResponse:
        await self.revoke(self._doors.who(request).name)
        return self._doors.forgotten()

    async def _hear(self, client: Client, text: str | bytes) -> None:
        try:
            said = read_text(text)
        except MalformedCommand as wrong:
            client.malformed += 1
            if client.malformed in (1, MALFORMED_MOST):
                self.note("malformed", client.name, str(wrong)[:200])
            if client.malformed >= MALFORMED_MOST:
                await client.ws.close(code=1008, message=b"malformed")
            return
        if isinstance(said, Ack):
            client.feed.ack(said.ack, said.seq, time.monotonic())
            client.wake()
        else:
            answer = await obey(self, client, said)
            if said.action != "ping":
                self._tell_state(time.monotonic())  # what a command changed is told before it is answered: a form would show what was
            client.tell(answer)

    def _hello(self, client: Client) -> dict[str, Any]:
        return {
            "type": "hello",
            "protocol": 1,
            "device": self._config.tablet.name,
            "version": version("sonosweep"),
            "role": client.role,
            "secure": self.secure,
            "languages": LANGUAGES,
        } | self._brand

    def _tell_live(self, message: dict[str, Any]) -> None:
        for client in self.clients:
            if message["type"] == "epoch":
                client.show(self.session.shown)
            elif message["type"] in ("pose", "light") and client.shown is self.session.shown:
                client.tell(message)

    def _show_image(self, now: float) -> None:
        image = self.session.image()
        if image is None:
            return
        frame, grey = image
        flags = IN_SWEEP * (frame.sweep >= 0)
        if frame.modality == "photoacoustic":
            flags |= photoacoustic(frame.wavelength_nm)
        picture = Picture(frame.sequence, flags, frame.received_ns / 1e6, frame.geometry.spacing_mm, grey)
        for client in self.clients:
            client.feed.offer(picture, now)

    def _wake(self, now: float) -> None:
        """Tell what is due, and let every tablet be sent what is new."""
        if now - self._state_at >= STATE_PERIOD_S:
            self._state_at = now
            self._tell_state(now)
        for client in self.clients:
            client.feed.complete = client.shown is not None and client.shown.complete
            client.wake()

    def _tell_state(self, now: float) -> None:
        if now - self._health_at > HEALTH_PERIOD_S:
            self._health_at = now
            self._doors.look_around()
            for name, detail in self._watch.look(self.session.recorded_bytes_per_s).items():
                self.fault(FaultRaised(service="tablet", name=name, detail=detail))
            if self._watch.jump:
                self._doors.tablets.clock_moved(*self._watch.jump)
            self.session.standing = self._watch.standing
            if self.session.service("run", now) == "idle":
                self.start_job(self._shelf.make_room(self.exporting))
            for client in self.clients:
                client.feed.most_images_per_s = self._watch.images_per_s(self._config.tablet.frames_per_s)
        if not self.clients:
            return
        state = self.session.state(now) | self._watch.told
        state |= {
            "clients": len(self.clients),
            "pairing": self._doors.pairing(),
            "clock": clock.told(),
        }
        for told in (state, state["sweep"]) if not self.secure else ():
            if told is not None:
                told["exam"] = without_patient(told["exam"])
        for client in self.clients:
            operator = {"name": self.lease.holder.name, "me": self.lease.holder is client} if self.lease.holder else None
            client.tell(state | {"operator": operator, "quality": client.feed.quality})

    async def _tell_library(self, number: int) -> None:
        message = await self.listing()
        for client in self.clients if number == self._listings else ():  # else a newer one is on its way
            client.tell(message)
