"""Commands about sweeps: begin and end one, keep it, turn it round, measure in it, export it. docs/tablet-link.md says what they mean."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from edge.console import say
from edge.errors import SonosweepError
from edge.tablet.client import Client
from edge.tablet.desk import Answered, Gateway
from edge.tablet.exports import confirm_direction, export
from edge.tablet.notes import with_recorded_facts
from edge.tablet.privacy import without_patient
from edge.tablet.refusals import REFUSALS, Refused
from edge.tablet.wire import Request

UNCONFIRMED = ("unverified", "unknown")
EXAM_FIELDS = ("patient_name", "patient_id", "birth_date", "sex", "accession", "operator", "body_part", "side", "notes", "study_uid")
LONGEST_FIELD = 500


async def start(gateway: Gateway, client: Client, request: Request) -> Answered:
    """Only while images come: what begins with the next image would else begin whenever somebody plugs a probe in."""
    if gateway.session.state(time.monotonic())["services"]["bridge"] != "receiving":
        raise Refused("NO_IMAGES")
    return await begin(gateway, request)


async def stop(gateway: Gateway, client: Client, request: Request) -> Answered:
    return await end(gateway)


async def begin(gateway: Gateway, request: Request) -> Answered:
    """Aim the reconstructor, then let the bridge begin with the next image."""
    session, now = gateway.session, time.monotonic()
    _form(gateway, request)
    await _asked(gateway, "run", action="aim", direction=request.direction, direction_source="preset")
    await _asked(gateway, "bridge", action="start")
    session.begin(now)
    for each in gateway.clients:
        if each.shown is not session.shown:
            each.show(session.shown)
    return {}


async def end(gateway: Gateway) -> Answered:
    """The next image is the sweep's last."""
    await _asked(gateway, "bridge", action="stop")
    return {}


async def freeze(gateway: Gateway, client: Client, request: Request) -> Answered:
    gateway.session.frozen = request.on
    return {}


async def exam(gateway: Gateway, client: Client, request: Request) -> Answered:
    """The form for the next sweep; or the exam of a sweep that is named and not kept yet, which is also the form while it runs."""
    session, current = gateway.session, gateway.session.sweep
    if request.sweep:
        with gateway.library.changing(request.sweep) as record:
            if record.state != "unsaved":
                raise Refused("WRONG_STATE", f"it is {record.state}")
            record.exam = _cleaned(gateway, request.exam)
        session.name_patient(record.id, record.exam)
        gateway.tell_library()
    if not request.sweep or (current is not None and current.id == request.sweep and current.state == "sweeping"):
        _form(gateway, request)
    return {}


async def save(gateway: Gateway, client: Client, request: Request) -> Answered:
    """Keep the sweep. An unverified direction must be confirmed; the volumes then say who did."""
    library = gateway.library
    if library.record(request.sweep).direction_source in UNCONFIRMED:
        if not request.direction_confirmed:
            raise Refused("DIRECTION_UNCONFIRMED")
        _check_written(gateway, request.sweep)
        await asyncio.to_thread(confirm_direction, library, request.sweep)
        with library.changing(request.sweep) as record:
            record.direction_source = "operator"
    record = library.save(request.sweep, _cleaned(gateway, request.exam) or library.record(request.sweep).exam)
    current = gateway.session.sweep
    if current is not None and current.id == request.sweep:
        current.state, current.direction_source = "saved", record.direction_source
    gateway.tell_library()
    return {}


async def discard(gateway: Gateway, client: Client, request: Request) -> Answered:
    current = gateway.session.sweep
    if current is not None and current.id == request.sweep:
        if current.state == "sweeping":
            raise Refused("SWEEP_RUNS")
    _check_written(gateway, request.sweep)
    gateway.library.discard(request.sweep)
    if current is not None and current.id == request.sweep:
        current.state = "discarded"
    gateway.tell_library()
    return {}


async def restore(gateway: Gateway, client: Client, request: Request) -> Answered:
    gateway.library.restore(request.sweep)
    current = gateway.session.sweep
    if current is not None and current.id == request.sweep:
        current.state = gateway.library.record(request.sweep).state
    gateway.tell_library()
    return {}


async def purge(gateway: Gateway, client: Client, request: Request) -> Answered:
    _check_written(gateway, request.sweep)
    gateway.library.purge(request.sweep)
    gateway.tell_library()
    return {}


async def flip(gateway: Gateway, client: Client, request: Request) -> Answered:
    """Rebuild from the recording in the other direction (a sweep without a volume: as it is known); all tablets watch it grow."""
    _check_written(gateway, request.sweep)
    record, recording = gateway.library.record(request.sweep), gateway.library.recording(request.sweep)
    if record.state == "discarded":
        raise Refused("WRONG_STATE", "restore it first")
    if not record.motion:
        record = await asyncio.to_thread(with_recorded_facts, record, recording)
    direction, source = record.direction, record.direction_source
    if direction and gateway.library.volume_files(record.id):
        direction, source = "+" if direction == "-" else "-", "operator"
    gateway.session.rebuild(record)
    try:
        about: dict[str, Any] = {"direction_source": source, "path": str(recording.absolute()), "frames": record.frames}
        await _asked(gateway, "run", action="rebuild", direction=direction, **about)
    except Refused:
        gateway.session.not_rebuilt(record.id)
        raise
    return {"direction": direction}


async def measures(gateway: Gateway, client: Client, request: Request) -> Answered:
    with gateway.library.changing(request.sweep) as record:
        record.measures = request.measures
    gateway.tell_library()
    return {}


async def export_(gateway: Gateway, client: Client, request: Request) -> Answered:
    _check_written(gateway, request.sweep)
    gateway.library.record(request.sweep)
    gateway.exporting.add(request.sweep)
    gateway.start_job(_export(gateway, client, request))
    return {"job": request.id}


async def _export(gateway: Gateway, client: Client, request: Request) -> None:
    loop, total = asyncio.get_running_loop(), len(request.formats)
    told: Answered = {"type": "job", "id": request.id, "sweep": request.sweep, "what": "export", "files": [], "error": ""}
    end = {"done": 0, "total": total, "error": "the export failed; the device's journal says why"}

    def progress(done: int, total: int) -> None:
        loop.call_soon_threadsafe(client.tell, told | {"done": done, "total": total})

    try:
        files = await asyncio.to_thread(export, gateway.library, request.sweep, request.formats, progress, gateway.dicom)
        end = {"done": total, "total": total, "files": files}
    except (SonosweepError, OSError) as wrong:
        say(f"tablet: export of {request.sweep}: {wrong}")
        end["error"] = str(wrong)
    finally:
        gateway.exporting.discard(request.sweep)
        client.tell(told | end)
    gateway.tell_library()


def _check_written(gateway: Gateway, sweep: str) -> None:
    """Refuses what must not happen while files of a sweep are being written: afterwards they would lie where nobody expects them."""
    run = gateway.session.statuses(time.monotonic()).get("run")
    if sweep in gateway.exporting:
        raise Refused("STILL_WRITING", f"{sweep} is being exported")
    if run is not None and (run.state == "rebuilding" or run.counts.get("saving")):
        raise Refused("STILL_WRITING", "a volume is being rebuilt or saved")


def _form(gateway: Gateway, request: Request) -> None:
    session = gateway.session
    session.exam, session.preset, session.direction = _cleaned(gateway, request.exam), request.preset, request.direction


def _cleaned(gateway: Gateway, exam: dict[str, str]) -> dict[str, str]:
    """The fields that are known, not too long; over plain http none that names a patient."""
    known = {field: exam[field].strip()[:LONGEST_FIELD] for field in EXAM_FIELDS if exam.get(field)}
    return known if gateway.secure else without_patient(known)


async def _asked(gateway: Gateway, service: str, **words: Any) -> None:
    """Ask a service over the bus. ``Refused`` by the name of its error."""
    answer = await gateway.link.command(service, **words)
    if answer.error:
        raise Refused(answer.error if answer.error in REFUSALS else "UNREADABLE", answer.detail)
