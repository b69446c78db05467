"""How fast frames become voxels: every mode, every number of threads, into empty bricks, one ``place`` per frame."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from edge.benchmark.machine import copy_gb_per_s, resolve_threads
from edge.benchmark.quoted import against_plus
from edge.benchmark.records import Plan, Record, record, repeat, timed
from edge.benchmark.speckle_sweep import PIXEL_MM, STEP_MM, Matrix, Pixels, poses, speckle
from edge.compounding import Compounder, VolumeSettings, cuda, open_compounder

COPIED_MIB = 64
WORD_BYTES = 4  # a voxel is one 32-bit word, read and written by each update
GAP_STEP_VOXELS = 3.2  # planes this far apart leave a gap between slabs that reach one voxel to either side: 0.8 mm at 0.25
GAP_LIMIT_MM = 4.0


def opened(plan: Plan, spacing_mm: float, threads: int = 0, **settings: Any) -> Compounder:
    """An empty volume of the plan's backend; the caller closes it."""
    return open_compounder(plan.backend, VolumeSettings(spacing_mm=spacing_mm, **settings), threads)


def thread_counts(plan: Plan) -> list[int]:
    """For which numbers of threads to measure: a GPU is driven by one."""
    with opened(plan, 1.0) as volume:
        return resolve_threads(plan.threads) if volume.backend == "host" else [1]


def copy_rate(plan: Plan, threads: int) -> float:
    """What the backend's memory copies, 10^9 bytes per second read plus written."""
    with opened(plan, 1.0) as volume:
        on_host = volume.backend == "host"
    return copy_gb_per_s(threads, COPIED_MIB) if on_host else cuda.copy_gb_per_s(4 * COPIED_MIB)


def place_all(volume: Compounder, pixels: Pixels, matrices: list[Matrix]) -> list[float]:
    """A whole sweep into an empty volume, as the reconstructor places it; answers the ms of each frame."""
    volume.reset()
    calls = [partial(volume.place, image, matrix, bridge=n > 0) for n, (image, matrix) in enumerate(zip(pixels, matrices, strict=True))]
    return timed(calls)


def mean(plan: Plan) -> Iterator[Record]:
    """Stage ``compounding``: the mean, on the input that PLUS was measured with, for each voxel size and number of threads."""
    pixels, matrices = speckle(plan.frames, plan.image_size), poses(plan.frames, plan.image_size)
    copies = {threads: copy_rate(plan, threads) for threads in thread_counts(plan)}
    for spacing_mm in plan.spacings_mm:
        for threads, copy_gb_s in copies.items():
            with opened(plan, spacing_mm, threads) as volume:
                runs = repeat(plan, partial(place_all, volume, pixels, matrices), 1.0)
                rates, voxels = runs.rates(plan.frames), volume.voxel_counts()
                backend = volume.backend
            per_frame = voxels_in_slab(plan, spacing_mm)
            gb_s = (2 * WORD_BYTES * per_frame + pixels[0].size) * rates["frames_per_s"] / 1e9
            full = (plan.frames, plan.image_size) == (200, (640, 480))
            yield record(
                "compounding, mean",
                backend,
                threads,
                spacing_mm,
                **rates,
                voxel_updates_per_frame=per_frame,
                voxels_per_s=per_frame * rates["frames_per_s"],
                moved_gb_per_s=gb_s,
                copy_gb_per_s=copy_gb_s,
                bandwidth_share=gb_s / copy_gb_s,
                voxels_touched=voxels.measured,
                **(against_plus(threads, spacing_mm, rates["frames_per_s"]) if full else {}),
            )


def voxels_in_slab(plan: Plan, spacing_mm: float) -> float:
    """How many voxel centres lie within one frame's slab (half-width one voxel), on average over where its plane may lie."""
    width, height = plan.image_size
    return (width - 1) * (height - 1) * PIXEL_MM**2 * 2 * spacing_mm / spacing_mm**3


def modes(plan: Plan) -> Iterator[Record]:
    """Stage ``modes``: maximum and latest on the same input, all threads."""
    pixels, matrices = speckle(plan.frames, plan.image_size), poses(plan.frames, plan.image_size)
    threads = thread_counts(plan)[-1]
    for spacing_mm in plan.spacings_mm:
        for mode in ("maximum", "latest"):
            with opened(plan, spacing_mm, threads, compounding=mode) as volume:
                runs = repeat(plan, partial(place_all, volume, pixels, matrices))
                yield record(f"compounding, {mode}", volume.backend, threads, spacing_mm, **runs.rates(plan.frames))


def gaps(plan: Plan) -> Iterator[Record]:
    """Stage ``gaps``: planes so far apart that the voxels between them are interpolated."""
    pixels = speckle(plan.frames, plan.image_size)
    threads = thread_counts(plan)[-1]
    for spacing_mm in plan.spacings_mm:
        step_mm = GAP_STEP_VOXELS * spacing_mm
        matrices = poses(plan.frames, plan.image_size, step_mm)
        with opened(plan, spacing_mm, threads, max_gap_mm=GAP_LIMIT_MM) as volume:
            runs = repeat(plan, partial(place_all, volume, pixels, matrices))
            voxels = volume.voxel_counts()
            yield record(
                "compounding, gaps",
                volume.backend,
                threads,
                spacing_mm,
                **runs.rates(plan.frames),
                step_mm=step_mm,
                voxels_touched=voxels.measured,
                voxels_interpolated=voxels.interpolated,
            )


def after(plan: Plan) -> Iterator[Record]:
    """Stage ``volume``: what is done with a volume: bricks of each frame resolved, holes filled, one dense array made."""
    pixels, matrices = speckle(plan.frames, plan.image_size), poses(plan.frames, plan.image_size, STEP_MM)
    threads = thread_counts(plan)[-1]
    for spacing_mm in plan.spacings_mm:
        with opened(plan, spacing_mm, threads) as volume:
            runs = repeat(plan, partial(_resolved, volume, pixels, matrices))
            bricks, last = volume.brick_count(), len(volume.place(pixels[-1], matrices[-1]))
            more: Record = {"bricks": bricks, "bricks_of_last_frame": last}
            yield record("bricks of a frame", volume.backend, threads, spacing_mm, **runs.rates(plan.frames), **more)
            for stage, work in (("fill holes", volume.fill_holes), ("dense volume", volume.dense)):
                runs = repeat(plan, partial(timed, [work]))
                p50 = runs.rates(1)["p50_ms"]
                more = {"p50_ms": p50, "runs": len(runs.seconds), "mvoxels": bricks * 512 / 1e6}
                yield record(stage, volume.backend, threads, spacing_mm, **more, voxels_per_s=bricks * 512e3 / min(runs.calls_ms))


def _resolved(volume: Compounder, pixels: Pixels, matrices: list[Matrix]) -> list[float]:
    """The ms in which the bricks that each frame touched are resolved, as they are for the tablet."""
    volume.reset()
    taken: list[float] = []
    for image, matrix in zip(pixels, matrices, strict=True):
        taken += timed([partial(volume.bricks, volume.place(image, matrix))])
    return taken
