"""The poses of a sweep along its time, read where the tracker was when an image was really taken."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from edge.messages import PoseStatus
from edge.transform import Transform, interpolated

LONGEST_GAP_NS = 500_000_000  # between two poses: a hand has moved too far for a straight way in between


class PoseTrack:
    """``poses`` [n] (status, ImageToReference) stamped ``times_ns`` [n]. ``lag_ms``: an image of t belongs to the pose of t + lag."""

    def __init__(self, poses: Sequence[tuple[PoseStatus, Transform | None]], times_ns: Sequence[int], lag_ms: float = 0.0) -> None:
        self._poses, self._times_ns, self._lag_ns = poses, times_ns, round(lag_ms * 1e6)
        if self._lag_ns:
            self._known = sorted(
                ((time, pose) for time, (status, pose) in zip(times_ns, poses, strict=True) if status == "ok" and pose),
                key=lambda known: known[0],
            )
            self._known_ns = [time for time, _ in self._known]

    def pose_at(self, index: int) -> tuple[PoseStatus, Transform | None]:
        """Of image ``index``. With a lag ``missing`` where the poses do not reach so far, ``invalid`` where a gap in them is too long."""
        if not self._lag_ns:
            return self._poses[index]
        wanted_ns = self._times_ns[index] + self._lag_ns
        after = bisect_right(self._known_ns, wanted_ns)
        if after and self._known_ns[after - 1] == wanted_ns:
            return "ok", self._known[after - 1][1]
        if after in (0, len(self._known)):
            return "missing", None
        (before_ns, before), (after_ns, later) = self._known[after - 1], self._known[after]
        if after_ns - before_ns > LONGEST_GAP_NS:
            return "invalid", None
        return "ok", interpolated(before, later, (wanted_ns - before_ns) / (after_ns - before_ns))
