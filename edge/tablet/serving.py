"""The gateway as a process: TLS, sockets, systemd's watchdog, and the local door."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from aiohttp import web

from edge.config import Config
from edge.console import say
from edge.daemon import listen_sockets, notify
from edge.errors import SonosweepError
from edge.messages import Status
from edge.tablet.bus_link import BusLink
from edge.tablet.control import answer
from edge.tablet.doors import Doors
from edge.tablet.gateway import TabletService
from edge.tablet.metrics import serve_metrics_if_wanted
from edge.tablet.refusals import REFUSALS

WATCHDOG_S = 0.5
HANDED_OVER = "tablet"  # FileDescriptorName= in sonosweep-tablet.socket


class AddressTaken(SonosweepError):
    """The gateway cannot listen where it was told to."""


async def serve(config: Config) -> None:
    """Until SIGTERM or SIGINT. The watchdog is kicked by the loop that hears the bus, not beside it."""
    listening = _listen(config.tablet.address, config.tablet.port)
    port = int(listening.getsockname()[1])
    context = zmq.asyncio.Context()
    doors = Doors(config.tablet, port)
    link = BusLink(zmq.Context(context), Path(config.run_dir))
    service = TabletService(config, link, doors)
    runner = web.AppRunner(doors.app, access_log=None, handler_cancellation=True, shutdown_timeout=2)
    await runner.setup()
    await web.SockSite(runner, listening, ssl_context=doors.authority.context() if doors.authority else None).start()
    metrics = await serve_metrics_if_wanted(config.metrics.port, _statuses(service))
    say(f"tablet: {doors.address()}; `sonosweep tablet pair` lets a tablet in")
    if not config.tablet.secure:
        say("tablet: plain http ([tablet] secure = false): for a network of the device's own; no patient names are kept or shown")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hears = asyncio.ensure_future(service.run())
    control = asyncio.ensure_future(answer(context, Path(config.run_dir), _obeys(service, doors)))
    waits = asyncio.ensure_future(stop.wait())
    notify("READY=1", "STATUS=serving")
    try:
        while not any(task.done() for task in (waits, hears, control)):
            before = link.turns
            await asyncio.wait({waits, hears, control}, timeout=WATCHDOG_S, return_when=asyncio.FIRST_COMPLETED)
            if link.turns != before:
                notify("WATCHDOG=1", f"STATUS={len(service.clients)} tablets")
        for ended in (hears, control):
            if ended.done():
                ended.result()
    finally:
        notify("STOPPING=1")
        for task in (control, hears, waits):
            task.cancel()
        await asyncio.gather(control, hears, waits, return_exceptions=True)
        await service.close()
        await runner.cleanup()
        if metrics:
            await metrics.cleanup()
        context.destroy(0)


def _listen(address: str, port: int) -> socket.socket:
    if handed_over := listen_sockets().get(HANDED_OVER):
        if port not in (0, handed_over.getsockname()[1]):
            say(f"tablet: [tablet] port {port} does not count where systemd listens: its socket unit names the port")
        return handed_over
    try:
        return socket.create_server((address, port), backlog=64)
    except OSError as wrong:
        raise AddressTaken(f"tablet.address {address}:{port} cannot be used: {wrong.strerror}; set another [tablet] port") from wrong


def _statuses(service: TabletService) -> Callable[[], dict[str, Status]]:
    return lambda: service.session.statuses(time.monotonic()) | {"tablet": service.status()}


def _obeys(service: TabletService, doors: Doors) -> Any:
    async def obey(word: str) -> dict[str, Any]:
        try:
            return await carry_out(word)
        except SonosweepError as wrong:
            return {"error": "UNREADABLE", "text": f"{REFUSALS['UNREADABLE'].text} ({wrong})"}
        except OSError as wrong:  # what cannot be entered in the audit log is not done
            return {"error": "NOT_KEPT", "text": f"{REFUSALS['NOT_KEPT'].text} ({wrong})"}

    async def carry_out(word: str) -> dict[str, Any]:
        if word == "pair":
            return doors.open_pairing()
        if word == "trust":
            return doors.trust()
        if word in ("start", "stop"):
            return await service.press(word)
        return {"error": "UNKNOWN_COMMAND", "text": f"{word[:40]!r} is not known: pair, trust, start, stop"}

    return obey
