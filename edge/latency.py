"""How long each stage takes: a histogram per stage, of fixed size however long the session lasts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BIN_MS = 0.1
BINS = 20_000  # up to 2 s; what takes longer counts in the last bin, its true maximum is kept


class Latencies:
    """Percentiles of durations by stage name.

    >>> times = Latencies()
    >>> for ms in range(100):
    ...     times.add("place", ms * 1_000_000)
    >>> times.summary()
    {'place': (50.0, 99.0, 99.0)}
    """

    def __init__(self) -> None:
        self._histograms: dict[str, NDArray[np.int64]] = {}
        self._longest_ms: dict[str, float] = {}
        self._summary: dict[str, tuple[float, float, float]] | None = None  # until the next measurement: an idle service asks often

    def add(self, stage: str, duration_ns: int) -> None:
        """One measurement."""
        if stage not in self._histograms:
            self._histograms[stage] = np.zeros(BINS, np.int64)
        self._summary = None
        ms = duration_ns / 1e6
        self._histograms[stage][min(max(int(ms / BIN_MS), 0), BINS - 1)] += 1
        self._longest_ms[stage] = max(ms, self._longest_ms.get(stage, 0.0))

    def summary(self) -> dict[str, tuple[float, float, float]]:
        """Stage to (p50, p99, maximum) in ms."""
        if self._summary is None:
            self._summary = {
                stage: (self._percentile(h, 0.5), self._percentile(h, 0.99), round(self._longest_ms[stage], 2))
                for stage, h in self._histograms.items()
            }
        return self._summary

    @staticmethod
    def _percentile(histogram: NDArray[np.int64], share: float) -> float:
        total = np.cumsum(histogram)
        return round(float(np.searchsorted(total, share * total[-1], side="right")) * BIN_MS, 2)
