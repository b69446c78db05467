"""A volume that tablets look at, and the messages with which one begins to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge.tablet.store import BrickStore


@dataclass
class Shown:
    """The live volume, or one from the library. ``path``: poses as docs/tablet-link.md has them; ``light``: the wavelength (nm) of each
    photoacoustic channel by its number, 0 where nobody told it."""

    source: str
    epoch: int
    spacing_mm: float
    store: BrickStore = field(default_factory=BrickStore)
    path: list[list[float | None]] = field(default_factory=list)
    light: dict[int, int] = field(default_factory=dict)
    complete: bool = False

    def told(self) -> list[dict[str, Any]]:
        """The messages with which a tablet begins to look at it."""
        epoch = {"type": "epoch", "epoch": self.epoch, "source": self.source, "spacing_mm": self.spacing_mm}
        return [epoch, {"type": "path", "epoch": self.epoch, "poses": self.path}, self.told_light()]

    def told_light(self) -> dict[str, Any]:
        """The ``light`` message: again where another wavelength appears."""
        return {"type": "light", "epoch": self.epoch, "channels": sorted(self.light.items())}
