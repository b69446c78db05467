"""A volume built again from its recording, piece by piece, so that the service that does it stays alive to everything else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from edge.config import Direction
from edge.files.parts import SweepInParts
from edge.messages import Frame, Message
from edge.reconstructor import Reconstructor

PIECE_S, PIECE_FRAMES = 0.1, 64  # at most at a time; then status, commands and faults have their turn


class Rebuild:
    """Feeds a recording, all its parts, to the live reconstructor in another direction; clients see it as a new epoch.

    Afterwards the next sweep is aimed as before. Raises what opening and reading the recording raises (``SonosweepError``, ``OSError``).
    """

    def __init__(self, reconstructor: Reconstructor, path: Path, direction: Direction, direction_source: str) -> None:
        self.done = self.total = 0
        self._reconstructor = reconstructor
        was: Direction = "" if reconstructor.direction_source == "unverified" else "-" if reconstructor.direction == "-" else "+"
        self._before = (was, reconstructor.direction_source)
        recording = SweepInParts(path)
        self.total = recording.frame_count or 0
        self._frames: Iterator[Frame] = iter(recording.frames())
        reconstructor.aim(direction, direction_source)

    def piece(self) -> tuple[list[Message], bool]:
        """What there is to say of the next frames, and whether that was all of them."""
        said: list[Message] = []
        until = time.monotonic() + PIECE_S
        for _ in range(PIECE_FRAMES):
            if time.monotonic() >= until:
                break
            frame = next(self._frames, None)
            if frame is None:
                return said + self._reconstructor.finish("stopped"), True
            said += self._reconstructor.feed(frame)
            self.done += 1
        return said, False

    def restore(self) -> None:
        """Aim the sweeps to come as they were aimed before; after the volume was saved or given up."""
        self._reconstructor.finish("stopped")
        self._reconstructor.aim(*self._before)
