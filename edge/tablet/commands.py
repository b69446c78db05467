"""What a tablet can ask for: one table of commands, each answered. docs/tablet-link.md says what they mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import edge.clock as clock
import edge.tablet.sweep_commands as sweeps
from edge.console import say
from edge.errors import SonosweepError
from edge.health import clock_trusted
from edge.tablet.client import Client
from edge.tablet.desk import Answered, Gateway
from edge.tablet.features import refuse_command_if_off
from edge.tablet.library import NoSuchSweep, SidecarUnreadable, WrongState
from edge.tablet.refusals import REFUSALS, Refused
from edge.tablet.wire import Request
from edge.tablet.worklist import worklist

KINDS: dict[type[SonosweepError], str] = {NoSuchSweep: "NO_SUCH_SWEEP", WrongState: "WRONG_STATE", SidecarUnreadable: "UNREADABLE"}
CLOCK_ANSWERS_S = 8.0
Handler = Callable[[Gateway, Client, Request], Awaitable[Answered]]


async def obey(gateway: Gateway, client: Client, request: Request) -> Answered:
    """Carry out a command; the answer, whatever happens."""
    try:
        command = COMMANDS.get(request.action)
        if command is None:
            raise Refused("UNKNOWN_COMMAND", request.action[:40])
        if not client.allowance.take():
            raise Refused("TOO_MANY")
        if command.operator and gateway.lease.holder is not client:
            raise Refused("NO_OPERATOR_LEASE")
        refuse_command_if_off(gateway.features, request)
        answer: Answered = {"ok": True} | await command.handler(gateway, client, request)
    except Refused as wrong:
        answer = {"ok": False, "error": wrong.name, "text": wrong.text, "detail": wrong.detail}
    except SonosweepError as wrong:
        name = next((name for kind, name in KINDS.items() if isinstance(wrong, kind)), "UNREADABLE")
        answer = {"ok": False, "error": name, "text": REFUSALS[name].text, "detail": str(wrong)}
    except OSError as wrong:
        answer = {"ok": False, "error": "NOT_KEPT", "text": REFUSALS["NOT_KEPT"].text, "detail": str(wrong)}
    if command is not None and command.operator:
        gateway.note(request.action, client.name, f"{request.sweep} {answer.get('error', 'done')}")
    return {"type": "answer", "id": request.id} | answer


async def take_operator(gateway: Gateway, client: Client, request: Request) -> Answered:
    """One tablet operates; taking over tells the other."""
    if client.role != "operator":
        raise Refused("NOT_OPERATOR")
    gateway.lease.take(client)
    gateway.note("take_operator", client.name, "")
    return {}


async def release_operator(gateway: Gateway, client: Client, request: Request) -> Answered:
    gateway.lease.release(client)
    return {}


async def open_(gateway: Gateway, client: Client, request: Request) -> Answered:
    if request.sweep in ("", "live"):
        client.show(gateway.session.shown)
        return {}
    client.show(await gateway.saved(request.sweep))
    return {"image_size": gateway.library.record(request.sweep).image_size}


async def list_(gateway: Gateway, client: Client, request: Request) -> Answered:
    client.tell(await gateway.listing())
    return {}


async def quality(gateway: Gateway, client: Client, request: Request) -> Answered:
    client.feed.mode = request.mode
    return {}


async def pairing(gateway: Gateway, client: Client, request: Request) -> Answered:
    return gateway.open_pairing(client.host) if request.on else gateway.close_pairing()


async def tablets(gateway: Gateway, client: Client, request: Request) -> Answered:
    return {"tablets": gateway.paired()}


async def revoke(gateway: Gateway, client: Client, request: Request) -> Answered:
    await gateway.revoke(request.tablet)
    return {}


async def checked(gateway: Gateway, client: Client, request: Request) -> Answered:
    """The page's checksum: the device sends everything again where it is another one than ours."""
    shown = client.shown
    if shown is None or request.epoch != shown.epoch or not shown.complete:
        return {"same": None}
    same = shown.store.crc32()[0] == request.crc32
    if not same:
        say(f"tablet: {client.name}'s volume differs from ours; it is sent again")
        client.again()
    return {"same": same}


async def ping(gateway: Gateway, client: Client, request: Request) -> Answered:
    return {"t": request.t, "time_ms": 1e3 * time.monotonic()}


async def set_clock(gateway: Gateway, client: Client, request: Request) -> Answered:
    """From this tablet's own; not where a network sets it. What is timed goes on: it counts by a clock that is never set."""
    if clock_trusted():
        raise Refused("CLOCK_FROM_NETWORK")
    number, asked_s = clock.ask(gateway.run_dir, request.t / 1e3, client.name), time.monotonic()
    while (state := clock.read_state()).number != number:
        if time.monotonic() - asked_s > CLOCK_ANSWERS_S:
            raise Refused("CLOCK_NOT_SET", "sonosweep-clock.service does not answer")
        await asyncio.sleep(0.05)
    if state.error:
        raise Refused("CLOCK_NOT_SET", state.error)
    gateway.look_again()
    return {"source": state.source}


class Command(NamedTuple):
    """``operator``: only the tablet that holds the lease."""

    handler: Handler
    operator: bool = True


COMMANDS = {
    "take_operator": Command(take_operator, operator=False),
    "release_operator": Command(release_operator, operator=False),
    "start": Command(sweeps.start),
    "stop": Command(sweeps.stop),
    "freeze": Command(sweeps.freeze),
    "exam": Command(sweeps.exam),
    "worklist": Command(worklist),
    "save": Command(sweeps.save),
    "discard": Command(sweeps.discard),
    "restore": Command(sweeps.restore),
    "purge": Command(sweeps.purge),
    "flip": Command(sweeps.flip),
    "open": Command(open_, operator=False),
    "list": Command(list_, operator=False),
    "measures": Command(sweeps.measures),
    "export": Command(sweeps.export_),
    "quality": Command(quality, operator=False),
    "pairing": Command(pairing),
    "tablets": Command(tablets),
    "revoke": Command(revoke),
    "checked": Command(checked, operator=False),
    "set_clock": Command(set_clock),
    "ping": Command(ping, operator=False),
}
