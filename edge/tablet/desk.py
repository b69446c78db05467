"""What the commands need of the gateway, so that they need not know it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from edge.config import DicomConfig, FeaturesConfig
from edge.console import say
from edge.messages import FaultRaised
from edge.tablet.bus_link import BusLink
from edge.tablet.client import Client
from edge.tablet.lease import Lease
from edge.tablet.library import Library
from edge.tablet.session import Session
from edge.tablet.sweep import Shown

Answered = dict[str, Any]


class Gateway(Protocol):
    """What commands need of the gateway."""

    session: Session
    library: Library
    link: BusLink
    secure: bool
    dicom: DicomConfig
    features: FeaturesConfig
    lease: Lease
    clients: set[Client]
    run_dir: Path
    exporting: set[str]  # sweeps whose files are being written
    asking_worklist: bool  # a question to the clinic's worklist is under way

    def note(self, event: str, who: str, detail: str) -> None:
        """Into the audit log."""

    def fault(self, fault: FaultRaised) -> None:
        """Of our own: into the log, to whoever listens, and to the tablets."""

    def tell_library(self) -> None:
        """Tell every tablet the list of sweeps."""

    async def listing(self) -> Answered:
        """The ``library`` message."""

    async def saved(self, sweep: str) -> Shown:
        """A sweep of the library as something to look at."""

    def start_job(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry it out beside everything else."""

    def look_again(self) -> None:
        """How the device is, at once instead of in a few seconds."""

    def open_pairing(self, seen_at: str) -> Answered:
        """Open the window; what the operator, whose tablet sees the device at this Host, shows to the other tablet."""

    def close_pairing(self) -> Answered:
        """Close the window."""

    def paired(self) -> list[Answered]:
        """Who is paired."""

    async def revoke(self, tablet: str) -> None:
        """Forget a tablet and hang up on it."""


def say_failed(job: asyncio.Task[None]) -> None:
    """Into the journal, where a job has ended by an error that nobody foresaw."""
    if not job.cancelled() and (wrong := job.exception()) is not None:
        say(f"tablet: work beside the link failed: {wrong!r}", "error")
