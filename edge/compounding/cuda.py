"""The volume on an NVIDIA GPU through pycuda: the same kernels as on the host, the same bytes.

Voxels stay on the device; a frame goes there once, for the network too, and bricks come back when asked for. The device's primary
context is current only within a call, so that TensorRT lives beside us and a volume may go from thread to thread between calls.
"""

from __future__ import annotations

import weakref
from functools import lru_cache
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edge.gpu as gpu
from edge.compounding import (
    BRICK_EDGE,
    CHANNEL_COUNT,
    BackendUnavailable,
    Bricks,
    DenseVolume,
    VolumeClosed,
    VolumeSettings,
    VoxelCounts,
    cubins,
    native,
)
from edge.compounding.book import Book, Plan
from edge.compounding.dense import assemble, survey
from edge.compounding.device import BRICK_VOXELS, HALO_VOXELS, Gpu, Picture, Placed, Pool
from edge.compounding.filling import filling_plan
from edge.compounding.image import DeviceImage, Image, LookUp, grey_table
from edge.compounding.native import checked_channel
from edge.gpu_context import primary

FILL_BATCH = 512  # bricks filled at a time: 39 MiB of scratch memory


def missing() -> str:
    """What is lacking to run here, with the cure; empty where it can. Takes no device memory and never crashes."""
    if lack := gpu.missing() or native.missing():
        return lack
    device = gpu.probe()
    return cubins.missing(device.architecture, device.cuda // 1000)


@lru_cache(maxsize=1)
def _code() -> bytes:
    """The kernels' code for device 0."""
    device = gpu.probe()
    return cubins.cubin(device.architecture, device.cuda // 1000)


def copy_gb_per_s(mib: int, runs: int = 8) -> float:
    """10^9 bytes per second, read plus written, of copies of ``mib`` MiB within the device's memory; the best of ``runs``."""
    with Compounder(VolumeSettings()) as volume:
        return volume._gpu.copy_gb_per_s(mib << 20, runs)


class Compounder:
    """See :class:`edge.compounding.Compounder`. ``threads`` is for the host and makes no difference here.

    Bricks count against ``memory_limit_mib`` one by one; device memory is taken for 8192 of them (16 MiB) at a time.
    Any call may raise DeviceFailed.
    """

    backend = "cuda"

    def __init__(self, settings: VolumeSettings, threads: int = 0) -> None:
        if lack := missing():
            raise BackendUnavailable(f"cuda: {lack}")
        self.settings = settings
        cuda = primary().cuda
        self._gpu = Gpu(primary(), _code(), settings, gpu.probe().integrated)
        self._book = Book(settings)
        limit = (settings.memory_limit_mib << 20) // (4 * BRICK_VOXELS)
        with self._gpu.current():
            self._pools = [Pool(cuda, self._gpu.stream, limit) for _ in range(CHANNEL_COUNT)]
            self._pictures = [[Picture(cuda), Picture(cuda)] for _ in range(CHANNEL_COUNT)]  # of the frame before and the one being placed
        self._free = weakref.finalize(self, _release, self._gpu, self._book, self._pools, self._pictures)

    def place(
        self,
        pixels: Image,
        image_to_reference: NDArray[np.float64],
        channel: int = 0,
        valid: NDArray[np.uint8] | None = None,
        bridge: bool = False,
    ) -> NDArray[np.int32]:
        """See the protocol."""
        gpu, channel = self._open(), checked_channel(channel)
        pose = native.checked_pose(image_to_reference)
        image, mask = native.checked_frame(pixels, valid)
        fresh = self._book.find(image.shape, pose, channel, bridge)
        with gpu.current():
            self._pools[channel].hold(self._book.count(channel) + fresh)
            self._book.commit(channel)
            here = image if isinstance(image, DeviceImage) else gpu.put(image)
            hits = self._run(gpu, channel, self._book.plan(channel), here, mask)
            return self._book.collect(channel, hits)

    def _run(self, gpu: Gpu, channel: int, plan: Plan, image: DeviceImage, mask: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Run the tasks of one frame; answers which of them wrote a voxel."""
        height, width = image.shape
        before, now = self._pictures[channel]
        frame, frame_before, tasks, gap_tasks, gap_tasks_before = gpu.send(
            plan.frame, plan.frame_before, plan.place, plan.bridge, plan.bridge_before
        )
        pairs, valid = now.take(width, height, mask is not None)
        gpu.launch("pair_image", height, 0, height, image.address, width, height, 0, pairs)
        if mask is not None:
            gpu.launch("pair_image", height, 0, height, gpu.constant(mask), width, height, 1, valid)
        pool, hits = self._pools[channel].address, gpu.zeros(1 + plan.placed + plan.bridged)
        if plan.placed:
            kernel = f"place_{self.settings.compounding}"
            gpu.launch(kernel, plan.placed, 0, plan.placed, tasks, frame, pairs, valid, pool, hits)
        if plan.bridged:
            maximum = int(self.settings.compounding == "maximum")
            pairs_before, valid_before = before.addresses
            where = (gap_tasks, gap_tasks_before, frame, frame_before, pairs, pairs_before, valid, valid_before)
            gap = self._book.gap_units(channel)
            gpu.launch("bridge_gap", plan.bridged, maximum, 0, plan.bridged, *where, gap, pool, hits + plan.placed)
        self._pictures[channel] = [now, before]
        return gpu.fetch(hits, 1 + plan.placed + plan.bridged)

    def bricks(self, slots: NDArray[np.int32], channel: int = 0) -> Bricks:
        """See the protocol."""
        gpu, channel = self._open(), checked_channel(channel)
        wanted = native.checked_slots(slots)
        coordinates, count = self._book.coordinates(channel, wanted), len(wanted)
        size, voxels = count * BRICK_VOXELS, np.empty((2, count, BRICK_EDGE, BRICK_EDGE, BRICK_EDGE), np.uint8)
        if count:
            with gpu.current():
                (sent,), out = gpu.send(wanted), gpu.room(2 * size)
                gpu.launch("resolve", count, 0, count, sent, self._pools[channel].address, out, out + size)
                voxels.reshape(-1)[:] = gpu.fetch(out, 2 * size)
        return Bricks(coordinates, voxels[0], voxels[1])

    def slots(self, channel: int = 0) -> NDArray[np.int32]:
        """See the protocol."""
        return np.arange(self.brick_count(channel), dtype=np.int32)

    def brick_count(self, channel: int = 0) -> int:
        """See the protocol."""
        self._open()
        return self._book.count(checked_channel(channel))

    def voxel_counts(self, channel: int = 0) -> VoxelCounts:
        """See the protocol."""
        return survey(self, channel)[0]

    def fill_holes(self, channel: int = 0, radius_voxels: int = 2, min_known_ratio: float = 0.5) -> int:
        """See the protocol."""
        gpu, channel = self._open(), checked_channel(channel)
        least, weights = filling_plan(radius_voxels, min_known_ratio)
        pool, slots = self._pools[channel].address, self.slots(channel)
        with gpu.current():
            known = gpu.scratch.hold(min(len(slots), FILL_BATCH) * 7 * HALO_VOXELS * 4)
            for batch in np.split(slots, range(FILL_BATCH, len(slots), FILL_BATCH)) if len(slots) else []:
                count, scratch = len(batch), len(batch) * HALO_VOXELS * 4
                one, two = known + scratch, known + 4 * scratch
                neighbours, wanted, weigh = gpu.send(self._book.neighbours(channel, batch), batch, weights)
                gpu.launch("fill_known", count, 0, count, neighbours, radius_voxels, pool, known)
                gpu.launch("fill_along_x", count, 0, count, radius_voxels, weigh, known, one)
                gpu.launch("fill_along_y", count, 0, count, radius_voxels, weigh, one, two)
                gpu.launch("fill_along_z", count, 0, count, radius_voxels, weigh, two, one)
                gpu.launch("fill_write", count, 0, count, wanted, least, one, pool)
                gpu.wait()
        return self.voxel_counts(channel).filled

    def dense(self, channel: int = 0) -> DenseVolume:
        """See the protocol."""
        return assemble(self, channel)

    def image(self, pixels: NDArray[Any], sample_range: tuple[float, float] = (0.0, 255.0), look_up: LookUp | None = None) -> Image:
        """See the protocol. The samples go to the device, and everything else is done there."""
        gpu, samples = self._open(), native.checked_pixels(pixels, kinds=native.SAMPLES)
        grey, (rows, columns) = grey_table(samples.dtype.name, *sample_range), samples.shape
        table = look_up and native.checked_table(*look_up)
        with gpu.current():
            image = gpu.put(samples)
            if grey is not None:
                source, image = image, Placed(gpu, (rows, columns), np.uint8)
                gpu.launch("grey", rows, 0, rows, columns, samples.itemsize - 1, source.address, gpu.constant(grey), image.address)
            if table is not None:
                source, (height, width) = image, table[0].shape
                image = Placed(gpu, (height, width), np.uint8)
                where = [gpu.constant(array) for array in table]
                gpu.launch("remap", height, 0, height, width, source.address, columns, rows, *where, image.address)
        return image

    def reset(self) -> None:
        """See the protocol."""
        gpu = self._open()
        self._book.clear()
        with gpu.current():
            for pool in self._pools:
                pool.clear()

    def close(self) -> None:
        """See the protocol."""
        self._free()

    def __enter__(self) -> Compounder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _open(self) -> Gpu:
        if not self._free.alive:
            raise VolumeClosed("this volume is closed; open a new one")
        return self._gpu


def _release(gpu: Gpu, book: Book, *held: list[Any]) -> None:
    """Free what a volume holds, on whatever thread it ends."""
    book.close()
    with gpu.current():
        gpu.release()
        for memory in held:
            memory.clear()
