"""Where the device keeps what it built for itself: kernels and engines."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

CACHES = [Path("/var/cache/sonosweep"), Path("~/.cache/sonosweep")]  # the first is the services', and never made by us

BUILDING = "engine-build"  # a file of the run directory while an engine is built: how far that is


def cache_folders() -> list[Path]:
    """In the order in which they are looked at; without a home directory there is one less."""
    found = []
    for folder in CACHES:
        with suppress(RuntimeError):
            found.append(folder.expanduser())
    return found
