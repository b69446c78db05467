"""What happens to a frame beside the voxels: scan conversion, resampling, messages, files, the reconstructor as a whole, the network."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge.benchmark.compounding import opened, thread_counts
from edge.benchmark.records import BadBenchmark, Plan, Record, Runs, record, repeat, timed
from edge.benchmark.speckle_sweep import as_frames, poses, speckle
from edge.compounding import open_compounder
from edge.compounding.scan_conversion import ScanTable, Sector
from edge.config import MotionConfig
from edge.console import say
from edge.files import open_sweep, write_sweep
from edge.files.volumes import Volume, write_volume
from edge.messages import Frame, Message, Pose, decode, encode
from edge.motion import MotionSource, MotionUnavailable
from edge.motion.bundle import find_bundle, open_bundle
from edge.motion.network import open_network, runnable
from edge.motion.recorded import RecordedMotion
from edge.motion.resample import Resampler
from edge.reconstructor import Reconstructor

SECTOR = Sector(beams=256, samples=640, radius_start_mm=60, radius_stop_mm=180, angle_start_deg=-30, angle_stop_deg=30)
CONVERTED_MM = 0.25
REFERENCE = "ort fp32"  # what the other variants are compared with
NETWORK_WINDOW = 256, 256, (0.4, 0.4)  # width, height, mm per pixel: what a small network looks at


def pixels(plan: Plan) -> Iterator[Record]:
    """Stage ``pixels``: scan conversion of a convex frame, and resampling to a network's window."""
    random = np.random.default_rng(2)
    beams = random.integers(0, 256, (SECTOR.samples, SECTOR.beams), np.uint8)
    table = ScanTable(SECTOR, CONVERTED_MM)
    threads = thread_counts(plan)[-1]
    with opened(plan, 1.0, threads) as volume:

        def convert() -> None:
            np.asarray(volume.image(beams, look_up=table.look_up))

        size = f"{SECTOR.beams}x{SECTOR.samples} to {table.index.shape[1]}x{table.index.shape[0]}"
        yield record("scan conversion", volume.backend, threads, **_calls(plan, convert), image=size)
    width, height, spacing_mm = NETWORK_WINDOW
    image, window = speckle(plan.frames, plan.image_size)[0], Resampler(width, height, spacing_mm)
    yield record("resample", "numpy", 1, **_calls(plan, partial(window, image, (0.2, 0.2))), image=f"to {width}x{height}")


def messages(plan: Plan) -> Iterator[Record]:
    """Stage ``bus``: messages between the services, into bytes and back: a frame, and the bricks that it changed."""
    frame = as_frames(speckle(plan.frames, plan.image_size), poses(4, plan.image_size))
    for spacing_mm in plan.spacings_mm:
        with opened(plan, spacing_mm) as volume:
            said = [message for one in frame for message in Reconstructor(RecordedMotion(), volume).feed(one)]
        bricks = next(message for message in said if message.topic == "bricks")
        of: list[tuple[str, float | None, Message]] = [("bricks", spacing_mm, bricks)]
        if spacing_mm == plan.spacings_mm[0]:
            of.insert(0, ("frame", None, frame[0]))
        for what, spacing, message in of:
            parts = [bytes(part) for part in encode(message)]
            size = sum(map(len, parts))
            yield record(f"bus, encode a {what}", "msgpack", 1, spacing, **_calls(plan, partial(encode, message)), bytes=size)
            yield record(f"bus, decode a {what}", "msgpack", 1, spacing, **_calls(plan, partial(decode, parts)), bytes=size)


def files(plan: Plan) -> Iterator[Record]:
    """Stage ``files``: a volume written, a sweep written and read (random speckle: nothing compresses worse)."""
    count = min(plan.frames, 60)
    sweep, matrices = speckle(plan.frames, plan.image_size)[:count], poses(count, plan.image_size)
    with tempfile.TemporaryDirectory(prefix="sonosweep-bench-") as folder:
        with opened(plan, plan.spacings_mm[0]) as volume:
            for image, matrix in zip(sweep, matrices, strict=True):
                volume.place(image, matrix)
            dense = volume.dense()
        x, y, z = dense.origin_mm.tolist()
        made = Volume(dense.intensity, (x, y, z), dense.spacing_mm, {}, dense.state)
        for ending in (".nrrd", ".nii.gz"):
            runs = repeat(plan, partial(timed, [partial(write_volume, Path(folder) / f"volume{ending}", made)]))
            mb_s = dense.intensity.nbytes / min(runs.calls_ms) / 1e3
            p50 = float(np.median(runs.calls_ms))
            yield record(f"write {ending}", "file", 1, dense.spacing_mm, p50_ms=p50, mb_per_s=mb_s, mvoxels=dense.intensity.size / 1e6)
        path = Path(folder) / "sweep.igs.mha"
        runs = repeat(plan, partial(timed, [partial(write_sweep, path, as_frames(sweep, matrices))]))
        yield record("write a sweep", "file", 1, **runs.rates(count, calls=False))
        runs = repeat(plan, lambda: _each(open_sweep(path).frames()))
        yield record("read a sweep", "file", 1, **runs.rates(count), mb_per_s=sweep.nbytes / min(runs.seconds) / 1e6)


def feed(plan: Plan) -> Iterator[Record]:
    """Stage ``feed``: the whole reconstructor, frame in to messages out (pose and resolved bricks), with recorded motion.

    16-bit frames are converted, convex ones scan-converted on the way.
    """
    frames = as_frames(speckle(plan.frames, plan.image_size), poses(plan.frames, plan.image_size))
    threads = thread_counts(plan)[-1]
    for spacing_mm in plan.spacings_mm:
        yield _fed(plan, "reconstructor", frames, RecordedMotion(), spacing_mm, threads)
    deep = [msgspec.structs.replace(f, pixels=f.pixels.astype(np.uint16) << 4, sample_range=(0.0, 4080.0)) for f in frames[:50]]
    yield _fed(plan, "reconstructor, 16 bit", deep, RecordedMotion(), plan.spacings_mm[0], threads)


def network(plan: Plan) -> Iterator[Record]:
    """Stage ``network``: a step of each variant that runs here, in turn."""
    frames = as_frames(speckle(plan.frames, plan.image_size), poses(plan.frames, plan.image_size))[:50]
    path = find_bundle(plan.model or MotionConfig().model)
    sources = {}
    for backend, variant in runnable(open_bundle(path).card):
        try:
            sources[f"{backend} {variant}"] = open_network(path, backend, variant=variant)
        except MotionUnavailable as wrong:
            say(f"{backend} {variant} is not measured: {wrong}")
    for source in sources.values():
        source.start(frames[0], frames[0].pixels)
    runs = {name: Runs() for name in sources}
    until = time.perf_counter() + plan.seconds * len(sources)
    while len(runs[next(iter(runs))].seconds) < plan.least_runs or time.perf_counter() < until:
        for name, source in sources.items():
            runs[name].add(timed([partial(source.step, frame, frame.pixels, 1) for frame in frames[1:]]))
    rates = {name: found.rates(len(frames) - 1) for name, found in runs.items()}
    for name, found in rates.items():
        times = rates[REFERENCE]["p50_ms"] / found["p50_ms"] if REFERENCE in rates else None
        yield record("network step", name, None, **found, model=sources[name].name, times_fp32=times)


def whole_step(plan: Plan) -> Iterator[Record]:
    """Stage ``step``: a frame in memory to its bricks ready to send, with the network and the volume that ``run`` would take.

    On a GPU that begins with the copy into pinned memory. ``compared_bricks`` were also made by the host, of the same frames and
    poses; ``BadBenchmark`` where a byte differs.
    """
    frames = as_frames(speckle(plan.frames, plan.image_size), poses(plan.frames, plan.image_size))[:50]
    motion, threads = open_network(find_bundle(plan.model or MotionConfig().model)), thread_counts(plan)[-1]
    for spacing_mm in plan.spacings_mm:
        compared = _compared(plan, frames, motion, spacing_mm)
        found = _fed(plan, "whole step, frame to bricks", frames, motion, spacing_mm, threads)
        yield found | {"network": motion.backend, "compared_bricks": compared}


def _compared(plan: Plan, frames: list[Frame], motion: MotionSource, spacing_mm: float) -> int:
    """How many bricks both backends have, to the byte alike."""
    with opened(plan, spacing_mm) as volume, open_compounder("host", volume.settings) as other:
        reconstructor = Reconstructor(motion, volume, direction="+")
        for frame in frames:
            for pose in (message for message in reconstructor.feed(frame) if isinstance(message, Pose)):
                other.place(frame.pixels, np.reshape(pose.image_to_reference, (4, 4)), bridge=True)
        ours, theirs = volume.bricks(volume.slots()), other.bricks(other.slots())
        if [array.tobytes() for array in ours] != [array.tobytes() for array in theirs]:
            raise BadBenchmark(
                f"the volume on {volume.backend} is not the host's; tell the developers, with this machine's gpu-check sheet"
            )
        return len(ours.coordinates)


def _fed(plan: Plan, stage: str, frames: list[Frame], motion: MotionSource, spacing_mm: float, threads: int) -> Record:
    with opened(plan, spacing_mm, threads) as volume:

        def sweep() -> list[float]:
            reconstructor = Reconstructor(motion, volume, direction="+")
            return timed([partial(reconstructor.feed, frame) for frame in frames])

        runs = repeat(plan, sweep)
        return record(stage, volume.backend, threads, spacing_mm, **runs.rates(len(frames)), motion=motion.name)


def _calls(plan: Plan, call: Callable[[], Any], times: int = 20) -> Record:
    """The rates of ``call`` alone."""
    return repeat(plan, partial(timed, [call] * times), 1 / 6).rates(times)


def _each(frames: Iterator[Any]) -> list[float]:
    """The ms that each frame takes to come."""
    marks = [time.perf_counter_ns()]
    for _ in frames:
        marks.append(time.perf_counter_ns())
    return [ns / 1e6 for ns in np.diff(marks).tolist()]
