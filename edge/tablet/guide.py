"""What helps the hand during a sweep: speed against the limit of the frame rate, coverage along the path, drift, contact.

The limit: 33 frames/cm (Nikolaev et al., Frontiers in Physics 2022, 10.3389/fphy.2022.926006), so 9.1 mm/s at 30 frames/s.
Speeds and lengths are of the point at mid depth, so that turning counts as it moves what is looked at.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge.motion.card import ErrorMemory
from edge.motion.uncertainty import USUAL, PathUncertainty

FRAMES_PER_MM = 3.3
BIN_MM = 2.0
RED = 2.0  # times the limit
STOPPED_MM_S, STOPPED_S = 0.5, 2.0
STEADY_S = 0.3  # a verdict changes only after so long
SMOOTH_S = 0.3
AIR_LEVEL = 6.0  # grey levels: mean absolute difference of axial neighbours below the near field; see ``contact``
NEAR_FIELD_MM = 5.0


class FrameRate:
    """Frames a second, smoothed over about a second; 0 until two have come and after a second without."""

    def __init__(self) -> None:
        self._interval_s = 0.0
        self._last_s = -math.inf

    def add(self, now_s: float) -> None:
        """A frame came."""
        gap = now_s - self._last_s
        if gap > 1.0:
            self._interval_s = 0.0
        elif not self._interval_s:
            self._interval_s = gap
        else:
            self._interval_s += (gap - self._interval_s) * min(gap, 1.0)
        self._last_s = now_s

    def per_s(self, now_s: float) -> float:
        """As of now."""
        return 1 / self._interval_s if self._interval_s > 0 and now_s - self._last_s <= 1.0 else 0.0


def contact(grey: NDArray[np.uint8], spacing_axial_mm: float) -> bool:
    """Whether tissue is seen: in air there is no echo, hence no speckle, below the reverberations of the near field.

    ``grey`` [axial, lateral]; the middle half of the columns counts, from ``NEAR_FIELD_MM`` to half the depth.
    """
    first = min(int(NEAR_FIELD_MM / spacing_axial_mm), len(grey) // 4)
    part = grey[first : max(len(grey) // 2, first + 2), grey.shape[1] // 4 : max(3 * grey.shape[1] // 4, 1)].astype(np.int16)
    return bool(np.percentile(part, 90) >= 2 * AIR_LEVEL and np.abs(np.diff(part, axis=0)).mean() >= AIR_LEVEL / 4)


class Guide:
    """Fed with the poses of one sweep. ``drift_mm``: standard deviation of the image centre's place relative to the first image.

    It is 0 where a tracker says each place, and None from the first step on whose uncertainty nobody knows.
    """

    def __init__(self, memory: ErrorMemory | None = None) -> None:
        self.length_mm = 0.0
        self.drift_mm: float | None = 0.0
        self.speed_mm_s: float | None = None
        self.verdict = "none"
        self._path = PathUncertainty(memory or USUAL)
        self._origin = np.zeros(3)
        self._before: tuple[int, NDArray[np.float64], NDArray[np.float64]] | None = None
        self._bins: dict[int, int] = {}
        self._gaps: set[int] = set()
        self._candidate, self._candidate_since = "none", 0.0
        self._slow_since: float | None = None

    def place(
        self,
        timestamp_ns: int,
        matrix: NDArray[np.float64],
        uncertainty: tuple[float, ...],
        size: tuple[int, int],
        bridged: int,
        *,
        tracked: bool = False,
    ) -> None:
        """``matrix`` ImageToReference of an image of ``size`` (columns, rows); ``uncertainty`` [6] of the step, or empty."""
        centre = (matrix @ ((size[0] - 1) / 2, (size[1] - 1) / 2, 0, 1))[:3]
        axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
        if self._before is not None:
            before_ns, before, axes_before = self._before
            step_mm, step_s = float(np.linalg.norm(centre - before)), (timestamp_ns - before_ns) / 1e9
            at = int(self.length_mm // BIN_MM)
            self.length_mm += step_mm
            if bridged or step_mm > BIN_MM:
                self._gaps |= set(range(at, int(self.length_mm // BIN_MM) + 1))
            if step_s > 0:
                weight = 1.0 if self.speed_mm_s is None else min(step_s / SMOOTH_S, 1.0)
                self.speed_mm_s = (self.speed_mm_s or 0.0) * (1 - weight) + weight * step_mm / step_s
            if not tracked and len(uncertainty) != 6:
                self.drift_mm = None
            elif not tracked and self.drift_mm is not None:
                covariance = self._path.add(axes_before, centre - self._origin, np.array(uncertainty))
                self.drift_mm = math.sqrt(max(float(np.trace(covariance)), 0.0))
        else:
            self._origin = centre
        self._bins[int(self.length_mm // BIN_MM)] = self._bins.get(int(self.length_mm // BIN_MM), 0) + 1
        self._before = timestamp_ns, centre, axes

    def judge(self, now_s: float, frames_per_s: float, in_contact: bool) -> str:
        """The verdict of docs/tablet-link.md; call it at every image."""
        speed, limit = self.speed_mm_s, limit_mm_s(frames_per_s)
        self._slow_since = (self._slow_since or now_s) if speed is not None and speed < STOPPED_MM_S else None
        if not in_contact:
            candidate = "no_contact"
        elif speed is None or not limit:
            candidate = "none"
        elif self._slow_since is not None and now_s - self._slow_since > STOPPED_S:
            candidate = "stopped"
        else:
            candidate = "too_fast" if speed > RED * limit else "fast" if speed > limit else "ok"
        if candidate != self._candidate:
            self._candidate, self._candidate_since = candidate, now_s
        if now_s - self._candidate_since >= STEADY_S or self.verdict == "none":
            self.verdict = candidate
        return self.verdict

    def coverage(self) -> list[tuple[float, str]]:
        """Bins of the path: their middle (mm), and ``ok`` (33 frames/cm or more), ``thin``, or ``gap`` (lost frames, a step too wide).

        The last bin is still being filled and is left out until it is.
        """
        enough = FRAMES_PER_MM * BIN_MM
        last = int(self.length_mm // BIN_MM)
        told = {at: "ok" if self._bins.get(at, 0) >= enough - 1 else "thin" if at in self._bins else "gap" for at in range(last)}
        return [((at + 0.5) * BIN_MM, "gap" if at in self._gaps else word) for at, word in told.items()]


def limit_mm_s(frames_per_s: float) -> float:
    """How fast a sweep may be at this frame rate."""
    return frames_per_s / FRAMES_PER_MM
