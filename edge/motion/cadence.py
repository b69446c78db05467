"""How many ultrasound images further on an image is: frames of light that were lost between two of them are no steps of the probe."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from edge.messages import Frame
from edge.motion.intervals import ENOUGH


class Cadence:
    """Follows the frames of one sweep, in order. A sweep of B-mode alone is counted by sequence numbers.

    Where light comes in between, nobody knows what was lost: the time tells how many B-mode frames would have fitted, never more
    than frames were lost.
    """

    def __init__(self) -> None:
        self._lost = 0
        self._mixed = False
        self._before_ns: int | None = None
        self._sorted: list[int] = []  # times between B-mode frames with no loss in between

    def elapsed(self, frame: Frame, lost: int) -> int:
        """B-mode frames from the last one to ``frame``; ``lost``: frames of any kind directly before it. 0 for light and for the first."""
        self._lost += lost
        if frame.modality != "bmode":
            self._mixed = True
            return 0
        before_ns, self._before_ns = self._before_ns, frame.timestamp_ns
        lost, self._lost = self._lost, 0
        if before_ns is None:
            return 0
        since_ns = frame.timestamp_ns - before_ns
        if not lost:
            if since_ns > 0 and len(self._sorted) < ENOUGH:
                insort(self._sorted, since_ns)
            return 1
        if not self._mixed or not self._sorted or since_ns <= 0:
            return 1 + lost
        return min(max(round(since_ns / self._sorted[len(self._sorted) // 2]), 1), 1 + lost)


class Followed(NamedTuple):
    """A B-mode frame. ``elapsed``: B-mode frames since the one before, 0 for the first of its sweep.

    ``widest_gap``: the most frames of any kind that were lost in a row since then, or all B-mode frames that were, where those are more.
    """

    frame: Frame
    elapsed: int
    widest_gap: int


def bmode_frames(frames: Iterable[Frame]) -> Iterator[Followed]:
    """The B-mode frames of one or more sweeps; repeated ones are left out, as the reconstructor leaves them out."""
    cadence, key, last, widest = Cadence(), None, -1, 0
    for frame in frames:
        if frame.sweep_key != key:
            cadence, key, last, widest = Cadence(), frame.sweep_key, frame.sequence - 1, 0
        lost = frame.sequence - last - 1
        if lost < 0:
            continue
        last, widest = frame.sequence, max(widest, lost)
        elapsed = cadence.elapsed(frame, lost)
        if frame.modality == "bmode":
            yield Followed(frame, elapsed, max(widest, elapsed - 1))
            widest = 0
