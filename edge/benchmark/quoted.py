"""Figures of PLUS (IGSIO) that were measured elsewhere and are quoted here, never mixed with what this machine did."""

from __future__ import annotations

from typing import NamedTuple

from edge.benchmark.records import Record, record

SOURCE = "IGSIO 9caba6949d96, g++ 12.2 -O3, AMD EPYC, 2 vCPU; slice insertion only, mean, 8-bit; fastest of 3 or more runs"


class Quoted(NamedTuple):
    """Frames per second of one way to paste, on 1 and on 2 threads."""

    spacing_mm: float
    way: str
    one_thread: float
    two_threads: float


PLUS = (
    Quoted(0.5, "linear", 83, 154),  # PARTIAL, its fastest
    Quoted(0.5, "nearest", 828, 1562),  # FULL, its default and fastest
    Quoted(0.25, "linear", 75, 143),
    Quoted(0.25, "nearest", 658, 1260),
)


def quoted() -> list[Record]:
    """The figures as records, so that they stand beside ours."""
    records = []
    for row in PLUS:
        for threads, rate in ((1, row.one_thread), (2, row.two_threads)):
            more = {"frames_per_s": float(rate), "quoted": SOURCE}
            records.append(record("compounding, mean", f"PLUS {row.way} (quoted)", threads, row.spacing_mm, **more))
    return records


def against_plus(threads: int, spacing_mm: float, frames_per_s: float) -> Record:
    """``frames_per_s`` as multiples of the quoted figures with as many threads; empty where there is none to compare with."""
    found = {}
    for row in PLUS:
        rate = {1: row.one_thread, 2: row.two_threads}.get(threads)
        if rate and row.spacing_mm == spacing_mm:
            found[f"times_plus_{row.way}_quoted"] = frames_per_s / rate
    return found
