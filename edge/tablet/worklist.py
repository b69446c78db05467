"""Who is expected today, for the exam form: the clinic's Modality Worklist, asked in a thread of its own and told when it has answered."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any

import msgspec

from edge.config import ConfigError, DicomConfig
from edge.console import say
from edge.errors import SonosweepError
from edge.tablet.client import Client
from edge.tablet.desk import Answered, Gateway
from edge.tablet.refusals import REFUSALS, Refused
from edge.tablet.wire import Request

STEP_S = 6.0  # of a connection, of an answer; `dicom.timeout_s` where that is shorter
WITHIN_S = 20.0  # of all of it: then the operator is told that nobody answers
NEEDS = ("pydicom", "pynetdicom")


async def worklist(gateway: Gateway, client: Client, request: Request) -> Answered:
    """A ``worklist`` message follows, to this tablet alone. One question at a time."""
    if not gateway.secure:
        raise Refused("WORKLIST_OVER_HTTP")
    if any(find_spec(name) is None for name in NEEDS):
        raise Refused("DICOM_MISSING")
    if not gateway.dicom.worklist_host:
        raise Refused("WORKLIST_MISSING")
    if gateway.asking_worklist:
        raise Refused("WORKLIST_ASKED")
    gateway.asking_worklist = True
    gateway.start_job(_look(gateway, client, request))
    return {}


async def _look(gateway: Gateway, client: Client, request: Request) -> None:
    asked = asyncio.ensure_future(asyncio.to_thread(_expected, gateway.dicom, request.date))
    done, _ = await asyncio.wait([asked], timeout=WITHIN_S)
    told: dict[str, Any] = {"entries": [], "left_out": 0, "cut": False, "error": "", "text": ""}
    detail = f"no answer within {WITHIN_S:g} s"
    try:
        name = "" if done else "WORKLIST_UNREACHABLE"
        if done and gateway.lease.holder is not client:
            name, detail = "NO_OPERATOR_LEASE", "the lease went while it was asked"
        elif done:
            name, detail, found = asked.result()
            told |= found
    finally:
        asked.add_done_callback(lambda _: setattr(gateway, "asking_worklist", False))
    if name:
        say(f"tablet: worklist: {detail}")
        told |= {"error": name, "text": REFUSALS[name].text}
    gateway.note("worklist told", client.name, name or f"{len(told['entries'])} entries, {told['left_out']} left out")
    client.tell({"type": "worklist", "id": request.id, "date": request.date} | told)


def _expected(config: DicomConfig, date: str) -> tuple[str, str, dict[str, Any]]:
    """(name of the refusal or nothing, why, what is told). In a thread: pydicom takes half a second to import, and the network its time."""
    from edge.dicom.errors import WorklistRefused
    from edge.dicom.worklist import ask, query

    more: list[str] = []
    try:
        found, left_out = ask(msgspec.structs.replace(config, timeout_s=min(config.timeout_s, STEP_S)), query(date=date), more.append)
    except WorklistRefused as wrong:
        return "WORKLIST_REFUSED", str(wrong), {}
    except ConfigError as wrong:
        return "WORKLIST_MISSING", str(wrong), {}
    except SonosweepError as wrong:
        return "WORKLIST_UNREACHABLE", str(wrong), {}
    return "", "", {"entries": [one._asdict() for one in found], "left_out": left_out, "cut": bool(more)}
