"""What the times and numbers of the arriving frames say: how far the probe's clock is off, and which frames never came."""

from __future__ import annotations

from collections import deque

WINDOW_NS = 10_000_000_000  # clocks drift by some 50 ppm: half a millisecond in the window
MOST_CANDIDATES = 1024
MOST_LOST = 2**62  # a number that a broken front end made up still fits the messages


class ClockOffset:
    """Received time minus probe time without the transport's delay: the least difference of the last ten seconds.

    A start of the front end (another boot identifier) starts its clock and this estimate anew.
    """

    def __init__(self) -> None:
        self._boot_id = -1
        self._rising: deque[tuple[int, int]] = deque(maxlen=MOST_CANDIDATES)  # (received, difference), each the least since

    def update(self, boot_id: int, timestamp_ns: int, received_ns: int) -> int:
        """The estimate in ns after a frame of the probe's time ``timestamp_ns`` came in at ``received_ns``."""
        if boot_id != self._boot_id:
            self._rising.clear()
            self._boot_id = boot_id
        difference = received_ns - timestamp_ns
        while self._rising and self._rising[-1][1] >= difference:
            self._rising.pop()
        self._rising.append((received_ns, difference))
        while received_ns - self._rising[0][0] > WINDOW_NS:
            self._rising.popleft()
        return self._rising[0][1]


class Losses:
    """Counts the sequence numbers that a sweep skipped. The first sweep seen may have begun before: its start is not counted."""

    def __init__(self) -> None:
        self.total = 0
        self.in_sweep = 0
        self._key: tuple[int, int] | None = None
        self._last = -1

    def note(self, sweep_key: tuple[int, int], sequence: int) -> int:
        """Take note of a frame; answers how many were lost just before it. Repeated and late frames lose nothing."""
        if sweep_key != self._key:
            self._last = sequence - 1 if self._key is None else -1
            self._key, self.in_sweep = sweep_key, 0
        lost = max(sequence - self._last - 1, 0)
        self._last = max(sequence, self._last)
        self.in_sweep = min(self.in_sweep + lost, MOST_LOST)
        self.total = min(self.total + lost, MOST_LOST)
        return lost
