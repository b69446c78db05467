"""The gateway: hears the bus, serves the page and its link, keeps the library. All I/O of the tablet stands here and in ``client``."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from edge import health
from edge.caches import BUILDING
from edge.config import Config
from edge.daemon import memory_mib
from edge.errors import SonosweepError
from edge.journal import say_fault
from edge.light import wavelength_nm
from edge.messages import FaultRaised, Frame, Status, SweepEnded
from edge.tablet.branding import read_branding
from edge.tablet.bus_link import BusLink
from edge.tablet.client import Client
from edge.tablet.commands import obey
from edge.tablet.doors import Doors
from edge.tablet.exports import read_channels
from edge.tablet.feed import Picture
from edge.tablet.library import Library, Record, sweep_id
from edge.tablet.listing import all_listed
from edge.tablet.presets import LANGUAGES
from edge.tablet.privacy import without_patient
from edge.tablet.refusals import Refused
from edge.tablet.session import Session
from edge.tablet.shelf import Shelf
from edge.tablet.shown import Shown
from edge.tablet.sweep_commands import begin, end
from edge.tablet.wire import IN_SWEEP, LARGEST_TEXT, Ack, MalformedCommand, Request, photoacoustic, read_text

STATE_PERIOD_S = 0.25
HEALTH_PERIOD_S = 5.0
LEASE_KEPT_S = 60.0  # for a tablet whose link was lost, unless another takes over
MALFORMED_MOST = 100  # then the tablet is hung up on


class TabletService:
    """Owns the session, the clients and the library. ``run`` serves until it is cancelled."""

    def __init__(self, config: Config, link: BusLink, doors: Doors) -> None:
        self._config, self.link, self._doors = config, link, doors
        self.secure, self.dicom = config.tablet.secure, config.dicom
        self.session = Session(config)
        recordings = Path(config.record.folder)
        self.library = Library(recordings, Path(config.volume.save) if config.volume.save else recordings)
        self.clients: set[Client] = set()
        self.operator: Client | None = None
        self._operated = ("", 0.0)  # whose link was lost while it operated, and when
        self.exporting: set[str] = set()
        self.asking_worklist = False
        self._saved_epochs = itertools.count(1)
        self._jobs: set[asyncio.Task[None]] = set()
        self._brand = read_branding(config.device)
        self._watch = health.Watch(self.library.recordings, building=Path(config.run_dir) / BUILDING)
        self._health_at = self._state_at = -1e9
        doors.serve("/link", self._serve_link)
        self._shelf = Shelf(self.library, doors, self.tell_library, config.record.quota_mib)

    async def run(self) -> None:
        """Hear the bus and tell the tablets."""
        async for message in self.link.messages(self.status):
            now = time.monotonic()
            for said in self.session.hear(message, now):
                self._tell_live(said)
            if isinstance(message, Frame):
                self._show_image(now)
            for ended in self.session.ended:
                self._note_sweep(ended)
            self.session.ended.clear()
            self._wake(now)

    def status(self) -> Status:
        """The gateway's sign of life, with its faults."""
        self._wake(time.monotonic())
        counts = {"clients": len(self.clients), "jobs": len(self._jobs)}
        device = {"memory_mib": memory_mib()} | self._watch.figures
        return Status(
            service="tablet", state="serving", counts=counts, faults=self.link.faults, standing=self._watch.standing, health=device
        )

    def fault(self, fault: FaultRaised) -> None:
        """Of our own: into the log, to whoever listens, and to the tablets."""
        say_fault(fault)
        self.link.raise_fault(fault)
        self.session.hear(fault, time.monotonic())

    def note(self, event: str, who: str, detail: str) -> None:
        """See the protocol."""
        self._doors.audit(event, who, detail)

    def tell_library(self) -> None:
        """See the protocol."""
        self.start_job(self._tell_library())

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

    def open_pairing(self) -> dict[str, Any]:
        """See the protocol."""
        return self._doors.open_pairing()

    def close_pairing(self) -> dict[str, Any]:
        """See the protocol."""
        return self._doors.close_pairing()

    def paired(self) -> list[dict[str, Any]]:
        """See the protocol."""
        return self._doors.paired()

    async def revoke(self, tablet: str) -> None:
        """See the protocol."""
        self._doors.revoke(tablet)
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
        client = Client(ws, who.name, who.role, self._config.tablet.frames_per_s)
        client.limit_queue(request)
        client.tell(self._hello(client))
        client.show(self.session.shown)
        self.clients.add(client)
        name, lost = self._operated
        if self.operator is None and client.name == name and time.monotonic() - lost < LEASE_KEPT_S:
            self.operator = client
        writes = asyncio.ensure_future(client.write())
        try:
            async for said in ws:
                if said.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._hear(client, said.data)
        finally:
            self.clients.discard(client)
            if self.operator is client:
                self.operator, self._operated = None, (client.name, time.monotonic())
            writes.cancel()
            await asyncio.gather(writes, return_exceptions=True)
        return ws

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
            client.tell(await obey(self, client, said))
            self._state_at = -1e9  # what a command changed is told at once

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
        picture = Picture(frame.sequence, flags, frame.received_ns / 1e6, grey)
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
            self.session.standing = self._watch.standing
            if self.session.service("run", now) == "idle":
                self.start_job(self._shelf.make_room())
            for client in self.clients:
                client.feed.most_images_per_s = self._watch.images_per_s(self._config.tablet.frames_per_s)
        state = self.session.state(now) | self._watch.told
        state |= {
            "clients": len(self.clients),
            "pairing": self._doors.pairing(),
            "clock": {"now": health.now_utc(), "trusted": health.clock_trusted()},
        }
        if not self.secure:
            state["exam"] = without_patient(state["exam"])
        for client in self.clients:
            operator = {"name": self.operator.name, "me": self.operator is client} if self.operator else None
            client.tell(state | {"operator": operator, "quality": client.feed.quality})

    def _note_sweep(self, ended: SweepEnded) -> None:
        """A sweep has ended, or was rebuilt: what is known of it goes beside its files."""
        record, sweep = self.session.record(), sweep_id(ended.boot_id, ended.sweep)
        if record is None or record.id != sweep:
            return
        try:
            before = self.library.record(sweep) if sweep in self.library.ids() else Record(id=sweep)
            if before.created and before.motion:  # rebuilt: the exam and its state stay, measurements were of the mirror image
                for kept in ("state", "exam", "created", "clock_trusted"):
                    setattr(record, kept, getattr(before, kept))
                self.library.forget_older_volumes(sweep)
            else:
                record.created, record.clock_trusted = health.now_utc(), health.clock_trusted()
            self.library.write(record)
            if self.session.sweep:
                self.session.sweep.state = record.state
        except (SonosweepError, OSError) as wrong:
            self.fault(FaultRaised(service="tablet", name="SWEEP_NOT_NOTED", detail=str(wrong)))
        self.tell_library()

    async def _tell_library(self) -> None:
        message = await self.listing()
        for client in self.clients:
            client.tell(message)
