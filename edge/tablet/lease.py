"""Who operates: one link of one tablet at a time. A tablet whose link was lost operates again, unless another has taken over."""

from __future__ import annotations

from collections.abc import Iterable

from edge.tablet.client import Client

KEPT_S = 60.0


class Lease:
    """Tell it of every link that comes and goes. Times are seconds of any rising clock."""

    def __init__(self) -> None:
        self.holder: Client | None = None
        self._lost = ("", 0.0)  # whose link was lost while it operated, and when

    def take(self, client: Client) -> None:
        """From whoever has it."""
        self.holder, self._lost = client, ("", 0.0)

    def release(self, client: Client) -> None:
        """Nobody operates, where it was this one."""
        if self.holder is client:
            self.holder = None

    def come(self, client: Client, now: float) -> None:
        """A tablet's new link often comes before its old one is known to be dead: the newest of a name operates."""
        name, lost = (self.holder.name, now) if self.holder else self._lost
        if client.name == name and now - lost < KEPT_S:
            self.take(client)

    def gone(self, client: Client, others: Iterable[Client], now: float) -> None:
        """A link has ended; another of the same tablet operates in its place."""
        if self.holder is not client:
            return
        self.holder, self._lost = next((other for other in others if other.name == client.name), None), (client.name, now)

    def revoke(self, name: str) -> None:
        """The tablet is forgotten."""
        if self.holder is not None and self.holder.name == name:
            self.holder = None
        if self._lost[0] == name:
            self._lost = ("", 0.0)
