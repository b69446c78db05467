"""What a service logs of a fault: one sentence for people, its fields for whoever searches the journal, and how grave it is."""

from __future__ import annotations

from edge.console import say
from edge.faults import FAULTS, Effect
from edge.messages import FaultRaised

LEVELS = {Effect.NOTE: "warning", Effect.BREAK: "error", Effect.STOP_RECORDING: "critical"}


def say_fault(fault: FaultRaised) -> None:
    """``NAME: what the operator reads (detail) [service=run boot_id=... sweep=3 sequence=17]``; fields that say nothing are left out."""
    known = FAULTS[fault.name]
    fields = {"service": fault.service, "boot_id": f"{fault.boot_id:016x}" if fault.boot_id else ""}
    fields |= {name: str(value) for name, value in (("sweep", fault.sweep), ("sequence", fault.sequence)) if value >= 0}
    told = " ".join(f"{name}={value}" for name, value in fields.items() if value)
    say(f"{fault.name}: {known.operator}{f' ({fault.detail})' if fault.detail else ''} [{told}]", LEVELS[known.effect])
