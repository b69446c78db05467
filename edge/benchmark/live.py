"""The whole device on this machine, every service its own process: latency from the probe to published bricks, losses, memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zmq

from edge.benchmark.records import BadBenchmark, Plan, Record, record
from edge.benchmark.speckle_sweep import as_frames, speckle, to_and_fro
from edge.config import BridgeConfig, Config, MotionConfig, RecordConfig, VolumeConfig
from edge.files import write_sweep
from edge.local_device import LocalDevice
from edge.messages import Bricks, FaultRaised, Status, SweepEnded

FRAMES_PER_S = 60.0
DISTINCT_FRAMES = 64  # the images of the sweep are repeated: they only have to be there
TURN_AFTER_S = 1.25  # the sweep goes to and fro, so that its volume, and with it the memory, soon stops growing
FLOOD_LONGER = 3  # times as many frames, since they take less time
SILENT_S = 20.0
LAST_STATUS_S = 0.6  # each service has told its final counts by then
TRACKED = MotionConfig(source="recorded")
MIB_PER_BRICK = 512 * 4 / 2**20


@dataclass
class Watched:
    """What was seen of one sweep. Memory in MiB by service: (seconds since the start, resident set)."""

    shown_ns: dict[int, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    status: dict[str, Status] = field(default_factory=dict)
    ended: dict[str, SweepEnded] = field(default_factory=dict)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    missed: int = 0


def live(plan: Plan) -> Iterator[Record]:
    """Stage ``live``: 60 frames/s of 640x480 for as long as the plan says, for each voxel size."""
    for spacing_mm in plan.spacings_mm:
        yield from _played(plan, "live, 60 frames/s", "1", spacing_mm)


def chain(plan: Plan) -> Iterator[Record]:
    """Stage ``chain``: 30 frames/s of 640x480, placed by the network."""
    motion = MotionConfig(source="network", model=plan.model or MotionConfig().model, direction="+")
    yield from _played(plan, "live, 30 frames/s, network", "0.5", plan.spacings_mm[0], motion)


def flood(plan: Plan) -> Iterator[Record]:
    """Stage ``flood``: as fast as the probe can send; plain images, so that reading them from the file holds up nothing."""
    yield from _played(plan, "live, flood", "max", plan.spacings_mm[0])


def probe(plan: Plan) -> Iterator[Record]:
    """Stage ``probe``: a recorded sweep read, encoded for the wire, sent, and taken by a socket that does nothing else."""
    folder = Path(tempfile.mkdtemp(prefix="sono-"))
    try:
        sweep, count = _sweep(plan, folder)
        endpoint = f"ipc://{folder}/sink.ipc"
        with zmq.Context() as context, context.socket(zmq.PULL) as sink:
            sink.bind(endpoint)
            with subprocess.Popen(_probe(sweep, endpoint, "max", folder / "trace.json"), stdin=subprocess.DEVNULL) as sender:
                at_ns, size = list[int](), 0
                while len(at_ns) < count:
                    if not sink.poll(1000) and sender.poll() is not None:
                        raise BadBenchmark(f"the probe ended with status {sender.returncode} after {len(at_ns)} of {count} frames")
                    size += sum(len(part) for part in sink.recv_multipart(copy=False))
                    at_ns.append(time.monotonic_ns())
        apart_ms = np.diff(at_ns) / 1e6
        rate = (count - 1) / float(apart_ms.sum()) * 1e3
        p50, p99 = np.percentile(apart_ms, (50, 99)).tolist()
        mb_s = size / count * rate / 1e6
        yield record("probe to socket", "wire", 1, frames_per_s=rate, p50_ms=p50, p99_ms=p99, frames=count, mb_per_s=mb_s)
    finally:
        shutil.rmtree(folder)


def _played(plan: Plan, stage: str, rate: str, spacing_mm: float, motion: MotionConfig = TRACKED) -> Iterator[Record]:
    folder = Path(tempfile.mkdtemp(prefix="sono-"))  # sockets have short names
    try:
        sweep, count = _sweep(plan, folder, plain=rate == "max")
        config = Config(
            run_dir=str(folder / "run"),
            bridge=BridgeConfig(endpoint=f"ipc://{folder}/probe.ipc"),
            motion=motion,
            volume=VolumeConfig(spacing_mm=spacing_mm, backend=plan.backend),
            record=RecordConfig(folder=str(folder / "recordings")),
        )
        trace = folder / "trace.json"
        with LocalDevice(config) as device:
            with subprocess.Popen(_probe(sweep, config.bridge.endpoint, rate, trace), stdin=subprocess.DEVNULL) as sender:
                seen = _watch(device, sender)
                if sender.wait() or not trace.exists():
                    raise BadBenchmark(f"the probe ended with status {sender.returncode}; its words are above")
        sent_ns = {int(sequence): ns for sequence, ns in json.loads(trace.read_text()).items()}
        yield _judged(stage, spacing_mm, count, sent_ns, seen)
        yield from _stages(stage, spacing_mm, seen)
    finally:
        shutil.rmtree(folder)


def _sweep(plan: Plan, folder: Path, plain: bool = False) -> tuple[Path, int]:
    """The sweep to play, and how many frames it has. ``plain``: longer, of one image that inflates in no time."""
    count = int(plan.live_seconds * FRAMES_PER_S) * (FLOOD_LONGER if plain else 1)
    images = speckle(DISTINCT_FRAMES, plan.image_size)
    if plain:
        images = np.broadcast_to(np.arange(images.shape[2]).astype(np.uint8), (1, *images.shape[1:]))
    matrices = to_and_fro(count, int(TURN_AFTER_S * FRAMES_PER_S), plan.image_size)
    path = folder / "sweep.igs.mha"
    write_sweep(path, as_frames(images, matrices, FRAMES_PER_S))
    return path, count


def _probe(sweep: Path, endpoint: str, rate: str, trace: Path) -> list[str]:
    words = [sys.executable, "-m", "edge", "probe", str(sweep), "--endpoint", endpoint, "--rate", rate]
    return [*words, "--trace", str(trace), "--quiet"]


def _watch(device: LocalDevice, sender: subprocess.Popen[bytes]) -> Watched:
    """Hear the device until run and record have ended the sweep."""
    seen, begun, measured = Watched(), time.monotonic(), 0.0
    heard = begun
    while not {"run", "record"} <= seen.ended.keys():
        for service, message in device.hear(0.05):
            if isinstance(message, Bricks):
                seen.shown_ns[message.sequence] = time.monotonic_ns()
            elif isinstance(message, FaultRaised):
                seen.faults[message.name] += 1
            elif isinstance(message, SweepEnded):
                seen.ended[message.service] = message
            elif isinstance(message, Status):
                seen.status[service] = message
                continue
            heard = time.monotonic()
        if time.monotonic() - measured > 0.2:
            measured = time.monotonic()
            for name, process in {**device.processes, "probe": sender}.items():
                seen.memory.setdefault(name, []).append((measured - begun, resident_mib(process.pid)))
        if time.monotonic() - heard > SILENT_S:
            raise BadBenchmark(f"nothing came for {SILENT_S:.0f} s; run said: {device.last_words('run')}")
    last = time.monotonic() + LAST_STATUS_S
    while time.monotonic() < last:
        seen.status |= {service: message for service, message in device.hear(0.1) if isinstance(message, Status)}
    seen.missed = device.missed
    return seen


def resident_mib(pid: int) -> float:
    """The memory that a process holds in RAM, MiB; nan where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _judged(stage: str, spacing_mm: float, count: int, sent_ns: dict[int, int], seen: Watched) -> Record:
    waits_ms = np.array([(seen.shown_ns[n] - sent_ns[n]) / 1e6 for n in sorted(seen.shown_ns) if n in sent_ns])
    ended, bridge = seen.ended["run"], seen.status["bridge"].counts
    span_s = (max(sent_ns.values()) - min(sent_ns.values())) / 1e9
    run = seen.status["run"]
    return record(
        stage,
        run.backend,
        None,
        spacing_mm,
        frames_per_s=(len(sent_ns) - 1) / span_s,
        p50_ms=float(np.percentile(waits_ms, 50)),
        p99_ms=float(np.percentile(waits_ms, 99)),
        max_ms=float(waits_ms.max()),
        measured="from the probe's send to the bricks at a subscriber",
        frames=count,
        sent=len(sent_ns),
        received=bridge["received"],
        placed=ended.placed,
        lost=ended.lost,
        unaccounted=len(sent_ns) - ended.frames - ended.lost,
        recorded=seen.ended["record"].frames,
        shown=len(seen.shown_ns),
        messages_missed=seen.missed,
        faults=dict(seen.faults),
        bridge_counts=bridge,
        volume_mib=run.counts["bricks"] * MIB_PER_BRICK,
        memory_mib={name: _memory(samples) for name, samples in seen.memory.items()},
        load=os.getloadavg()[0],
    )


def _memory(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Resident set at the start, at most, and its growth over the second half of the sweep."""
    held = [mib for _, mib in samples if mib > 0]
    if not held:
        return {}
    later = held[len(held) // 2 :]
    return {"start": round(held[0], 1), "most": round(max(held), 1), "grew_in_second_half": round(later[-1] - later[0], 1)}


def _stages(stage: str, spacing_mm: float, seen: Watched) -> Iterator[Record]:
    """What the services themselves measured on the way."""
    for service in ("bridge", "run", "record"):
        for step, (p50, p99, longest) in seen.status[service].latency_ms.items():
            yield record(f"{stage}: {service}, {step.replace('_', ' ')}", service, None, spacing_mm, p50_ms=p50, p99_ms=p99, max_ms=longest)
