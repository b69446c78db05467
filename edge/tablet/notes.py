"""What the library is told of a sweep as it begins and ends: whose it is is written down at its start, and no later form changes it."""

from __future__ import annotations

from pathlib import Path

from edge import clock, health
from edge.console import say
from edge.errors import SonosweepError
from edge.files.parts import SweepInParts
from edge.messages import FaultRaised, SweepEnded
from edge.scan_geometry import placed_size
from edge.tablet.desk import Gateway
from edge.tablet.library import Library, Record
from edge.tablet.sweep import Sweep


def note_sweeps(gateway: Gateway) -> None:
    """Sweeps that have begun, ended, or were not rebuilt after all: what is known of each goes beside its files."""
    session, library = gateway.session, gateway.library
    for sweep in session.begun:
        try:
            note_begin(library, sweep)
        except (SonosweepError, OSError) as wrong:
            gateway.fault(FaultRaised(service="tablet", name="SWEEP_NOT_NOTED", detail=f"{sweep.id}: {wrong}"))
    for sweep, ended in session.ended:
        try:
            if not note_end(library, sweep, ended):
                detail = f"{sweep.id}: {len(sweep.shown.path)} of {ended.placed} positions"
                gateway.fault(FaultRaised(service="tablet", name="SWEEP_HALF_HEARD", detail=detail))
                gateway.start_job(_show_from_disk(gateway, sweep))
        except (SonosweepError, OSError) as wrong:
            gateway.fault(FaultRaised(service="tablet", name="SWEEP_NOT_NOTED", detail=f"{sweep.id}: {wrong}"))
        gateway.tell_library()
    for sweep in session.given_up:
        sweep.be_as_before()
        gateway.start_job(_show_from_disk(gateway, sweep))
        gateway.tell_library()
    for noted in (session.begun, session.ended, session.given_up):
        noted.clear()


async def _show_from_disk(gateway: Gateway, sweep: Sweep) -> None:
    """The volume as it was written, in place of what was heard of it."""
    shown = sweep.shown
    try:
        saved = await gateway.saved(sweep.id)
    except (SonosweepError, OSError) as wrong:
        say(f"tablet: {sweep.id} is shown as far as it was heard: {wrong}")
        return
    shown.store, shown.path, shown.spacing_mm, shown.complete = saved.store, saved.path, saved.spacing_mm, True
    for client in gateway.clients:
        if client.shown is shown:
            client.show(shown)


def note_begin(library: Library, sweep: Sweep) -> None:
    """As it begins, so that neither a power cut nor a restart parts a sweep from its patient."""
    if library.known(sweep.id) is None:
        library.write(
            Record(
                id=sweep.id,
                created=health.now_utc(),
                clock_trusted=health.clock_trusted(),
                clock_source=clock.clock_source(),
                exam=sweep.exam,
                image_size=sweep.image_size,
            )
        )


def note_end(library: Library, sweep: Sweep, ended: SweepEnded) -> bool:
    """Write down a sweep that has ended or was rebuilt; False where only a part of it was heard, and the disk has more.

    What was known stays: whose it is, its state and its date. Measurements do not where it was rebuilt: they were of another volume.
    Where that could not be written, all stays as it was.
    """
    with library.lock:
        return _note_end(library, sweep, ended)


def _note_end(library: Library, sweep: Sweep, ended: SweepEnded) -> bool:
    record = sweep.record()
    before = library.known(sweep.id) or sweep.before
    if before is not None:
        if before.motion and not sweep.shown.path and not ended.rebuilt:
            return True  # it is noted already, with all that was heard of it
        for kept in ("state", "exam", "created", "clock_trusted", "clock_source", *(() if ended.rebuilt else ("measures",))):
            setattr(record, kept, getattr(before, kept))
        record.image_size = before.image_size if before.image_size != (0, 0) else record.image_size
    else:
        record.created, record.clock_trusted, record.clock_source = health.now_utc(), health.clock_trusted(), clock.clock_source()
    if ended.rebuilt:
        if before is not None and not ended.files and library.volume_files(sweep.id):
            sweep.before = before
            sweep.be_as_before()
            sweep.shown.complete = False
            return False
        if before is not None:
            record.duration_s = before.duration_s or (sweep.before or before).duration_s
    library.write(record)
    if ended.rebuilt:
        library.forget_but(sweep.id, ended.files)
    sweep.state, sweep.exam = record.state, record.exam
    return sweep.whole


def with_recorded_facts(record: Record, recording: Path) -> Record:
    """``record`` of a sweep that nobody noted the end of, with what its recording says. Raises what opening it raises."""
    sweep = SweepInParts(recording)
    count, frames_per_s, start = sweep.frame_count or 0, sweep.frames_per_s, sweep.description.get("start", {})
    if not record.duration_s and frames_per_s and count > 1:
        record.duration_s = round((count - 1) / frames_per_s, 2)
    if record.image_size == (0, 0):
        record.image_size = placed_size(sweep.geometry)
    if not record.clock_trusted and "started" in start:
        record.created, record.clock_trusted = start["started"], start.get("clock_trusted") == "true"
        record.clock_source = start.get("clock_source", "")
    return record
