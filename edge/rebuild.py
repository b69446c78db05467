"""A volume built again from its recording, piece by piece, so that the service that does it stays alive to everything else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.config import Direction
from edge.errors import SonosweepError
from edge.faults import FAULTS
from edge.files.parts import SweepInParts
from edge.messages import Frame, Message, SweepEnded
from edge.reconstructor import Reconstructor

PIECE_S, PIECE_FRAMES = 0.1, 64  # at most at a time; then status, commands and faults have their turn


class RecordingShort(SonosweepError):
    """A recording lacks images that the sweep's volume holds; built from it, a part would take the place of the whole."""


class Rebuild:
    """Feeds a recording, all its parts, to the live reconstructor in another direction; clients see it as a new epoch.

    Afterwards the next sweep is aimed as before. Raises what opening and reading the recording raises (``SonosweepError``, ``OSError``).
    """

    def __init__(self, reconstructor: Reconstructor, path: Path, direction: Direction, direction_source: str, *, frames: int = 0) -> None:
        """``frames``: how many images the volume must hold, but for lost ones that are bridged."""
        self.done = self.total = 0
        self._least = frames
        self._reconstructor = reconstructor
        was: Direction = "" if reconstructor.direction_source == "unverified" else "-" if reconstructor.direction == "-" else "+"
        self._before = (was, reconstructor.direction_source)
        recording = SweepInParts(path)
        self.total = recording.frame_count or 0
        self._frames: Iterator[Frame] = iter(recording.frames())
        reconstructor.aim(direction, direction_source)
        self.over, reconstructor.over = reconstructor.over, None  # of the probe's sweeps, whatever is built again meanwhile

    def piece(self) -> tuple[list[Message], bool]:
        """What there is to say of the next frames, and whether that was all of them. ``RecordingShort``."""
        said: list[Message] = []
        until = time.monotonic() + PIECE_S
        for _ in range(PIECE_FRAMES):
            if time.monotonic() >= until:
                break
            frame = next(self._frames, None)
            if frame is None:
                return self._checked(said + self._reconstructor.finish("stopped")), True
            said += self._reconstructor.feed(frame)
            self.done += 1
        return self._checked(said), False

    def _checked(self, said: list[Message]) -> list[Message]:
        """An end that comes too early is not said."""
        for ended in said:
            if isinstance(ended, SweepEnded) and ended.placed < self._least:
                broken = ended.reason in FAULTS
                if broken or ended.placed + ended.lost < self._least:
                    why = f" ({ended.reason})" if broken else ""
                    raise RecordingShort(f"the recording gives {ended.placed} of {self._least} images{why}; the volume stays as it is")
        return [msgspec.structs.replace(one, rebuilt=True) if isinstance(one, SweepEnded) else one for one in said]

    def restore(self) -> None:
        """Aim the sweeps to come as they were aimed before; after the volume was saved or given up."""
        self._reconstructor.finish("stopped")
        self._reconstructor.aim(*self._before)
        self._reconstructor.over = self.over
