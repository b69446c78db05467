"""One sweep from its first pose to the word of its end: whose it is, its path and its volume stay together, whatever begins meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge.tablet.guide import Guide
from edge.tablet.library import Record
from edge.tablet.store import BrickStore
from edge.tablet.unmixing import unmixing


@dataclass
class Shown:
    """A volume that tablets look at: the live one, or one from the library. ``path``: poses as docs/tablet-link.md has them; ``light``: the
    wavelength (nm) of each photoacoustic channel by its number, 0 where nobody told it."""

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
        return {"type": "light", "epoch": self.epoch, "channels": sorted(self.light.items()), "oxygen": unmixing(self.light)}


@dataclass
class Sweep:
    """``exam`` is the form as it stood when the sweep began. ``before``: what was known of a sweep that is being rebuilt."""

    id: str
    started_s: float
    shown: Shown
    exam: dict[str, str] = field(default_factory=dict)
    before: Record | None = None
    guide: Guide = field(default_factory=Guide)
    channels: set[int] = field(default_factory=set)
    state: str = "sweeping"
    frames: int = 0
    placed: int = 0
    lost: int = 0
    ended: str = ""
    ended_s: float | None = None
    direction: str = ""
    direction_source: str = "unverified"
    motion: str = ""
    recording: str = "none"
    recorded_frames: int = 0
    image_size: tuple[int, int] = (0, 0)

    @property
    def whole(self) -> bool:
        """Whether every pose was heard of a sweep that has ended."""
        return len(self.shown.path) == self.placed

    @property
    def drift_mm(self) -> float | None:
        """See :class:`Guide`; to two digits."""
        drift_mm = self.guide.drift_mm
        return None if drift_mm is None else round(drift_mm, 2)

    def told(self, state: str, now_s: float) -> dict[str, Any]:
        """As tablets are told (docs/tablet-link.md)."""
        return {
            "id": self.id,
            "state": state,
            "epoch": self.shown.epoch,
            "elapsed_s": round((self.ended_s or now_s) - self.started_s, 1),
            "frames": self.frames,
            "placed": self.placed,
            "lost": self.lost,
            "length_mm": round(self.guide.length_mm, 1),
            "drift_mm": self.drift_mm,
            "direction": self.direction,
            "direction_source": self.direction_source,
            "motion": self.motion,
            "recording": self.recording,
            "recorded_frames": self.recorded_frames,
            "ended": self.ended,
            "exam": self.exam,
        }

    def record(self) -> Record:
        """What the library is to know of the sweep that has ended. A path with holes has no drift that anybody knows."""
        return Record(
            id=self.id,
            exam=self.exam,
            frames=self.placed,
            length_mm=round(self.guide.length_mm, 1),
            duration_s=round((self.ended_s or self.started_s) - self.started_s, 2),
            direction=self.direction,
            direction_source=self.direction_source,
            motion=self.motion,
            drift_mm=self.drift_mm if self.whole else None,
            spacing_mm=self.shown.spacing_mm,
            channels=tuple(sorted({("ultrasound", "photoacoustic")[min(channel, 1)] for channel in self.channels})),
            ended=self.ended,
            image_size=self.image_size,
            path=[tuple(pose) for pose in self.shown.path],
        )

    def be_as_before(self) -> None:
        """It was not rebuilt after all: what lies on the disk is what was known of it."""
        before = self.before
        if before is not None:
            self.state, self.direction, self.direction_source = before.state, before.direction, before.direction_source
            self.placed, self.motion, self.ended = before.frames, before.motion, before.ended
