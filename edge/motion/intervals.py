"""The time from frame to frame over the usual time: a scanner that skips a frame lets the probe move twice as far."""

from __future__ import annotations

from bisect import insort

import numpy as np
from numpy.typing import NDArray

ENOUGH = 255  # intervals: then the usual one is known


class Intervals:
    """Follows one sweep. The usual interval is the median of those so far, each divided by the frames that it went over."""

    def __init__(self, timestamp_ns: int = 0) -> None:
        self._before, self._sorted = timestamp_ns, list[float]()

    def next(self, timestamp_ns: int, elapsed_frames: int = 1) -> float:
        """The time since the frame before over the usual one; ``elapsed_frames`` where the clock stood still or went back."""
        since = float(timestamp_ns - self._before)
        self._before = timestamp_ns
        if since <= 0:
            return float(elapsed_frames)
        if len(self._sorted) < ENOUGH:
            insort(self._sorted, since / elapsed_frames)
        return since / self._sorted[len(self._sorted) // 2]


def intervals_of(timestamps_ns: NDArray[np.integer]) -> NDArray[np.float32]:
    """Of a sweep without a lost frame: [n - 1]."""
    first, *others = timestamps_ns.tolist()
    follows = Intervals(first)
    return np.array([follows.next(at) for at in others], np.float32)
