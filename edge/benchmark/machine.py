"""What this machine is (never whose), and how fast its memory copies."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.benchmark.records import Plan, Record, record

COPIED_MIB = 256  # far beyond the caches of a server


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor as it names itself."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def file_stem() -> str:
    """The name of a file of this machine's figures: ``amd-epyc-2-cores``."""
    words = re.sub(r"\((?:R|TM)\)|\bCPU\b|\bProcessor\b|@.*", " ", cpu_model(), flags=re.IGNORECASE)
    return f"{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}-{cores()}-cores"


def describe() -> dict[str, Any]:
    """Processor, cores, system and versions; no host name."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "load": os.getloadavg()[0],
    }


def resolve_threads(asked: tuple[int, ...]) -> list[int]:
    """Numbers of threads, each once and rising; 0 is all cores."""
    return sorted({count or cores() for count in asked})


def machine(plan: Plan) -> Iterator[Record]:
    """Stage ``machine``: the bandwidth of a large copy, bytes read and bytes written both counted, best of several."""
    for threads in resolve_threads(plan.threads):
        gb_s = copy_gb_per_s(threads, COPIED_MIB if not plan.quick else COPIED_MIB // 4)
        yield record("machine", "numpy copy", threads, copy_gb_per_s=gb_s, **describe())


def copy_gb_per_s(threads: int, mib: int, runs: int = 8) -> float:
    """10^9 bytes per second, read plus written, of ``threads`` numpy copies of ``mib`` MiB in all."""
    source, target = np.ones(mib << 17, np.int64), np.zeros(mib << 17, np.int64)
    pieces = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(runs):
            begun = time.perf_counter()
            list(pool.map(_copy, pieces))
            best = min(best, time.perf_counter() - begun)
    return 2 * source.nbytes / best / 1e9


def _copy(pair: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    np.copyto(pair[1], pair[0])
