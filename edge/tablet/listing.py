"""The list of sweeps as a tablet is told."""

from __future__ import annotations

from typing import Any

from edge.console import say
from edge.errors import SonosweepError
from edge.tablet.library import Library, NoSuchSweep
from edge.tablet.privacy import without_patient


def all_listed(library: Library, *, patients: bool) -> list[dict[str, Any]]:
    """Every sweep, the newest first; one whose sidecar is damaged with what is wrong. Without ``patients`` no field that names one."""
    told = []
    for sweep in library.ids():
        try:
            one = library.listed(sweep)
        except (NoSuchSweep, FileNotFoundError):
            continue  # it has just been moved or deleted: whoever did that has the list told anew
        except SonosweepError as wrong:
            say(f"tablet: {wrong}")
            one = {"id": sweep, "state": "unsaved", "error": str(wrong), "exam": {}, "files": []}
        if not patients:
            one["exam"] = without_patient(one["exam"])
        told.append(one)
    return told
