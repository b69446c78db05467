"""What a measurement is: repeated runs with a time per call, and the record that is printed, saved and compared."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edge.errors import SonosweepError

Record = dict[str, Any]
BackendName = Literal["auto", "host", "cuda"]
COLUMNS = ("stage", "backend", "threads", "spacing_mm", "frames_per_s", "p50_ms", "p99_ms")  # of every record, null where meaningless


class BadBenchmark(SonosweepError):
    """The benchmark was asked for what it does not have."""


@dataclass(frozen=True)
class Plan:
    """What to measure, how long and how large. ``threads`` of the host backend; ``model`` a bundle, "" for none."""

    quick: bool = False
    backend: BackendName = "auto"
    threads: tuple[int, ...] = (1, 0)
    model: str = ""
    frames: int = 200  # of the compounding input
    image_size: tuple[int, int] = (640, 480)  # lateral, axial
    spacings_mm: tuple[float, ...] = (0.5, 0.25)
    seconds: float = 6.0  # spent on the repetitions of the main measurements; others take a part of it
    least_runs: int = 3
    live_seconds: float = 10.0
    truth_frames: int = 120  # of the sweep whose truth is known


@dataclass
class Runs:
    """Repetitions of the same work: seconds of each run, ms of each call within them, ``load`` of the machine at the start."""

    seconds: list[float] = field(default_factory=list)
    calls_ms: list[float] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, calls_ms: list[float]) -> None:
        """One more run, by the ms of its calls."""
        self.calls_ms += calls_ms
        self.seconds.append(sum(calls_ms) / 1e3)

    def rates(self, frames: int, *, calls: bool = True) -> Record:
        """``frames_per_s`` of the fastest run and of the median one, percentiles over all calls, how many runs there were.

        ``frames_per_s_undisturbed`` adds up the shortest time that each call took in any run: what a machine that does nothing
        else comes to, and never the headline. ``calls`` False where a call is not a frame: neither this nor percentiles then.
        """
        best, median = min(self.seconds), float(np.median(self.seconds))
        p50, p99 = np.percentile(self.calls_ms, (50, 99)).tolist() if calls else (None, None)
        shortest = np.reshape(self.calls_ms, (len(self.seconds), -1)).min(0).sum() / 1e3
        return {
            "frames_per_s": frames / best,
            "frames_per_s_median": frames / median,
            "frames_per_s_undisturbed": frames / float(shortest) if calls else None,
            "p50_ms": p50,
            "p99_ms": p99,
            "runs": len(self.seconds),
            "load": self.load,
        }


def repeat(plan: Plan, work: Callable[[], list[float]], share: float = 1 / 3) -> Runs:
    """Run ``work`` for ``share`` of the plan's seconds. It answers the ms of each of its calls; nothing else in it counts."""
    runs = Runs()
    until = time.perf_counter() + plan.seconds * share
    while len(runs.seconds) < plan.least_runs or time.perf_counter() < until:
        runs.add(work())
    return runs


def timed(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """The ms that each of ``calls`` takes, one after the other."""
    taken = []
    for call in calls:
        begun = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - begun) / 1e6)
    return taken


def record(stage: str, backend: str = "host", threads: int | None = None, spacing_mm: float | None = None, **more: Any) -> Record:
    """A record with every column, ``more`` over and beside them. A GPU has no ``threads``."""
    blank: Record = dict.fromkeys(COLUMNS)
    ours = None if backend == "cuda" else threads
    return blank | {"stage": stage, "backend": backend, "threads": ours, "spacing_mm": spacing_mm} | more
