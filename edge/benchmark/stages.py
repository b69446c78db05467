"""Everything that can be measured, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from edge.benchmark import accuracy, compounding, frames, live, machine
from edge.benchmark.records import BadBenchmark, Plan, Record


class Stage(NamedTuple):
    """What is measured, and the function that does it."""

    summary: str
    measure: Callable[[Plan], Iterator[Record]]


STAGES = {
    "machine": Stage("memory bandwidth", machine.machine),
    "compounding": Stage("frames into voxels, mean", compounding.mean),
    "modes": Stage("frames into voxels, maximum and latest", compounding.modes),
    "gaps": Stage("frames into voxels, gaps interpolated", compounding.gaps),
    "volume": Stage("bricks resolved, holes filled, dense volume", compounding.after),
    "pixels": Stage("scan conversion, resampling", frames.pixels),
    "bus": Stage("messages between services", frames.messages),
    "files": Stage("volumes and sweeps on the disk", frames.files),
    "feed": Stage("the reconstructor as a whole", frames.feed),
    "network": Stage("the motion network, every variant that runs here", frames.network),
    "step": Stage("a frame to its bricks, motion by the network, the volume compared with the host's", frames.whole_step),
    "probe": Stage("a sweep read, encoded and sent", live.probe),
    "live": Stage("all services, 60 frames/s", live.live),
    "chain": Stage("all services, 30 frames/s, motion by the network", live.chain),
    "flood": Stage("all services, as fast as it goes", live.flood),
    "accuracy": Stage("error against a known truth, beside pasting", accuracy.accuracy),
}


def chosen(only: list[str]) -> list[str]:
    """The stages to measure, in the table's order; all where none is named. ``BadBenchmark`` for names that are none."""
    unknown = [name for name in only if name not in STAGES]
    if unknown:
        raise BadBenchmark(f"{unknown[0]!r} is no stage; there are {', '.join(STAGES)}")
    return [name for name in STAGES if not only or name in only]
