"""What the commands need of the gateway, so that they need not know it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from edge.config import DicomConfig
from edge.tablet.bus_link import BusLink
from edge.tablet.client import Client
from edge.tablet.library import Library
from edge.tablet.session import Session
from edge.tablet.shown import Shown

Answered = dict[str, Any]


class Gateway(Protocol):
    """What commands need of the gateway."""

    session: Session
    library: Library
    link: BusLink
    secure: bool
    dicom: DicomConfig
    operator: Client | None
    clients: set[Client]
    exporting: set[str]  # sweeps whose files are being written
    asking_worklist: bool  # a question to the clinic's worklist is under way

    def note(self, event: str, who: str, detail: str) -> None:
        """Into the audit log."""

    def tell_library(self) -> None:
        """Tell every tablet the list of sweeps."""

    async def listing(self) -> Answered:
        """The ``library`` message."""

    async def saved(self, sweep: str) -> Shown:
        """A sweep of the library as something to look at."""

    def start_job(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry it out beside everything else."""

    def open_pairing(self) -> Answered:
        """Open the window; what the operator shows to the other tablet."""

    def close_pairing(self) -> Answered:
        """Close the window."""

    def paired(self) -> list[Answered]:
        """Who is paired."""

    async def revoke(self, tablet: str) -> None:
        """Forget a tablet and hang up on it."""
