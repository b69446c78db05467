"""What the CUDA backend needs of a device: memory, one stream, kernels, the way there and back. ``cuda`` is pycuda's driver module.

All but ``Gpu.current`` itself is called within ``Gpu.current``: without a current context every call fails.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.compounding import BRICK_EDGE, VolumeSettings, native
from edge.compounding.book import NO_MEMORY
from edge.compounding.filling import MAX_RADIUS
from edge.compounding.image import Taps
from edge.errors import SonosweepError
from edge.gpu_context import Primary

BLOCK = (256, 1, 1)  # threads for one brick or one image row: a multiple of the kernels' LANES
BRICK_VOXELS = BRICK_EDGE**3
CONSTANTS = 16  # arrays kept: two look-ups with their masks, a grey table, the shares of two geometries
CHUNK_BRICKS = 1 << 13  # POOL_BITS in portable.cuh: 16 MiB
HALO_VOXELS = (BRICK_EDGE + 2 * MAX_RADIUS) ** 3  # of hole filling
ARGUMENTS = {  # of the kernels, as pycuda writes them; a test compares them with kernels.cu
    "pair_image": "iiPiiiP",
    "place_mean": "iiPPPPPP",
    "place_maximum": "iiPPPPPP",
    "place_latest": "iiPPPPPP",
    "bridge_gap": "iiiPPPPPPPPiPP",
    "resolve": "iiPPPP",
    "fill_known": "iiPiPP",
    "fill_along_x": "iiiPPP",
    "fill_along_y": "iiiPPP",
    "fill_along_z": "iiiPPP",
    "fill_write": "iiPiPP",
    "remap": "iiiPiiPPPP",
    "grey": "iiiiPPP",
    "resample": "iiiiPiiPPiPPP",
}


class DeviceFailed(SonosweepError):
    """The GPU or its driver answered with an error in the middle of work; what the volume held is lost."""


class Memory:
    """Device memory that grows to what is asked for. What it held is lost when it grows."""

    def __init__(self, cuda: Any) -> None:
        self._cuda, self._size = cuda, 0
        self._held: Any = None

    def hold(self, size: int) -> int:
        """The address of at least ``size`` bytes; 0 while nothing was ever asked for."""
        if size > self._size:
            self._held, self._size = None, 0  # the old block goes first: both together may not fit
            self._held, self._size = self._cuda.mem_alloc(size), size
        return int(self._held or 0)

    def drop(self) -> None:
        """Free it."""
        self._held, self._size = None, 0


class Mapped(Memory):
    """Pinned host memory that the device reads and writes in place: for what is touched once, where both share one memory."""

    host: NDArray[np.uint8]

    def hold(self, size: int) -> int:
        """As of ``Memory``; the same bytes lie in ``host``."""
        if size > self._size:
            pinned = self._cuda.pagelocked_empty(size, np.uint8, mem_flags=self._cuda.host_alloc_flags.DEVICEMAP)
            self.host, self._held, self._size = pinned, pinned.base.get_device_pointer(), size
        return int(self._held or 0)

    def drop(self) -> None:
        """Free it."""
        super().drop()
        self.host = np.empty(0, np.uint8)


class Placed:
    """See :class:`edge.compounding.image.DeviceImage`. Dead when the volume that made it is closed."""

    def __init__(self, gpu: Gpu, shape: tuple[int, int], kind: Any, memory: type[Memory] = Memory) -> None:
        self.shape, self.dtype = shape, np.dtype(kind)
        self.nbytes = math.prod(shape) * self.dtype.itemsize
        self._gpu, self._spare = gpu, gpu.spare[memory]
        self.memory = self._spare.pop() if self._spare else gpu.new(memory)
        self.address = self.memory.hold(self.nbytes)

    def __del__(self) -> None:
        if hasattr(self, "memory"):
            self._spare.append(self.memory)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        with self._gpu.current():
            here = self._gpu.fetch(self.address, self.nbytes)
        return np.array(here.view(self.dtype).reshape(self.shape), dtype)

    def resampled(self, lateral: Taps, axial: Taps) -> Placed:
        """See the protocol."""
        width, height = lateral[0].shape[1], axial[0].shape[1]
        with self._gpu.current():
            out = Placed(self._gpu, (height, width), np.float32)
            columns, column_shares, rows, row_shares = map(self._gpu.constant, (*lateral, *axial))
            across = (len(lateral[0]), columns, column_shares)
            down = (len(axial[0]), rows, row_shares)
            self._gpu.launch("resample", height, 0, height, width, height, self.address, self.shape[1], *across, *down, out.address)
        return out


class Pool:
    """The voxels of one channel in chunks that never move, and the table of chunks that the kernels read (``address``)."""

    def __init__(self, cuda: Any, stream: Any, brick_limit: int) -> None:
        self._cuda, self._stream = cuda, stream
        self._chunks: list[Any] = []
        self._table = cuda.mem_alloc(8 * (brick_limit // CHUNK_BRICKS + 1))
        self.address = int(self._table)

    def hold(self, bricks: int) -> None:
        """Make room for so many; new voxels are empty."""
        while len(self._chunks) * CHUNK_BRICKS < bricks:
            chunk = self._cuda.mem_alloc(CHUNK_BRICKS * BRICK_VOXELS * 4)
            self._cuda.memset_d32_async(chunk, 0, CHUNK_BRICKS * BRICK_VOXELS, self._stream)
            self._cuda.memcpy_htod(self.address + 8 * len(self._chunks), np.array([int(chunk)], np.uint64))
            self._chunks.append(chunk)

    def clear(self) -> None:
        """Give all chunks back."""
        self._chunks.clear()


class Picture:
    """A frame made ready for sampling, kept for the next one's gap."""

    def __init__(self, cuda: Any) -> None:
        self._pairs, self._mask, self._masked = Memory(cuda), Memory(cuda), False

    def take(self, width: int, height: int, masked: bool) -> tuple[int, int]:
        """Make room for a frame; see ``addresses``."""
        self._masked = masked
        size = 2 * (width + 1) * height
        return self._pairs.hold(size), self._mask.hold(size) if masked else 0

    @property
    def addresses(self) -> tuple[int, int]:
        """Of the paired pixels, and of the paired mask (0: none)."""
        return self._pairs.hold(0), self._mask.hold(0) if self._masked else 0


class Gpu:
    """Stream, kernels, and staging memory for what goes to and from the device."""

    def __init__(self, primary: Primary, code: bytes, settings: VolumeSettings, integrated: bool) -> None:
        """``integrated``: frames are written where the device reads them, and not copied."""
        cuda, self._context, self.stream = primary
        self.cuda, self._settings, self._integrated = cuda, settings, integrated
        self.spare: dict[type[Memory], list[Memory]] = {Memory: [], Mapped: []}  # of images that were forgotten
        self._images: list[Memory] = []  # of all
        self._constants: dict[int, tuple[NDArray[Any], Memory]] = {}  # by the identity of what was sent
        with self.current():
            self._done = cuda.Event(cuda.event_flags.BLOCKING_SYNC | cuda.event_flags.DISABLE_TIMING)  # waiting burns no core
            self._module = cuda.module_from_buffer(code)
            self._kernels = {name: self._module.get_function(name) for name in ARGUMENTS}
            for name, kernel in self._kernels.items():
                kernel.prepare(ARGUMENTS[name])
            self._sending = cuda.pagelocked_empty(1 << 20, np.uint8)
            self._tasks = cuda.pagelocked_empty(1 << 16, np.uint8)
            self._fetching = cuda.pagelocked_empty(1 << 16, np.uint8)
            self._sent, self._back, self.scratch = Memory(cuda), Memory(cuda), Memory(cuda)

    @contextmanager
    def current(self) -> Iterator[None]:
        """The context is current on the calling thread. Raises VolumeFull without memory, DeviceFailed for all else."""
        self._context.push()
        try:
            yield
        except self.cuda.MemoryError as wrong:
            raise native.refusal(NO_MEMORY, self._settings) from wrong
        except self.cuda.Error as wrong:
            raise DeviceFailed(f"the GPU failed ({wrong}); start the program again, and the machine if that does not help") from wrong
        finally:
            self.cuda.Context.pop()

    def launch(self, kernel: str, count: int, *arguments: int) -> None:
        """Run a kernel with one block for each of ``count`` bricks or lines, after all that was asked before."""
        self._kernels[kernel].prepared_async_call((count, 1), BLOCK, self.stream, *arguments)

    def send(self, *arrays: NDArray[Any]) -> list[int]:
        """Copy arrays to the device in one piece; their addresses hold until the next ``send``, before which comes a ``wait``."""
        ends = np.cumsum([-(-array.nbytes // 256) * 256 for array in arrays]).tolist()
        starts = [0, *ends[:-1]]
        self._tasks = pinned = self._tasks if ends[-1] <= self._tasks.nbytes else self.cuda.pagelocked_empty(ends[-1], np.uint8)
        for start, array in zip(starts, arrays, strict=True):
            pinned[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
        base = self._sent.hold(ends[-1])
        self.cuda.memcpy_htod_async(base, pinned[: ends[-1]], self.stream)
        return [base + start for start in starts]

    def put(self, pixels: NDArray[Any]) -> Placed:
        """An image on the device: one copy into pinned memory, and from there one transfer unless the device is integrated.

        A socket cannot spare that copy: libzmq receives into a message of its own, and ``recv_into`` copies out of that.
        """
        self.wait()  # nothing that was asked before reads the pinned memory any more
        image = Placed(self, pixels.shape, pixels.dtype, Mapped if self._integrated else Memory)
        if isinstance(image.memory, Mapped):
            image.memory.host[: image.nbytes] = pixels.reshape(-1).view(np.uint8)
            return image
        if image.nbytes > self._sending.nbytes:
            self._sending = self.cuda.pagelocked_empty(image.nbytes, np.uint8)
        pinned = self._sending[: image.nbytes]
        pinned[:] = pixels.reshape(-1).view(np.uint8)
        self.cuda.memcpy_htod_async(image.address, pinned, self.stream)
        return image

    def new(self, kind: type[Memory]) -> Memory:
        """Memory of an image, held until ``release``."""
        self._images.append(kind(self.cuda))
        return self._images[-1]

    def constant(self, array: NDArray[Any]) -> int:
        """The address of an array that is sent once if it is read-only (else a copy of it); the last ``CONSTANTS`` are kept."""
        if array.flags.writeable:
            array = array.copy()
        kept = self._constants.pop(id(array), None)
        if kept is None:
            kept = array, Memory(self.cuda)
            self.cuda.memcpy_htod(kept[1].hold(array.nbytes), array)
        self._constants[id(array)] = kept
        while len(self._constants) > CONSTANTS:
            del self._constants[next(iter(self._constants))]
        return kept[1].hold(0)

    def room(self, size: int) -> int:
        """The address of ``size`` bytes for an answer, until the next ``room``."""
        return self._back.hold(size)

    def zeros(self, size: int) -> int:
        """``room`` filled with zeros."""
        address = self.room(size)
        self.cuda.memset_d8_async(address, 0, size, self.stream)
        return address

    def fetch(self, address: int, size: int) -> NDArray[np.uint8]:
        """An answer's bytes, when all that was asked before is done. They hold until the next ``fetch``."""
        if size > self._fetching.nbytes:
            self._fetching = self.cuda.pagelocked_empty(2 * size, np.uint8)
        out: NDArray[np.uint8] = self._fetching[:size]
        self.cuda.memcpy_dtoh_async(out, address, self.stream)
        self.wait()
        return out

    def wait(self) -> None:
        """Until all that was asked before is done."""
        self._done.record(self.stream)
        self._done.synchronize()

    def copy_gb_per_s(self, size: int, runs: int) -> float:
        """See :func:`edge.compounding.cuda.copy_gb_per_s`."""
        best = float("inf")
        with self.current():
            source, target = self.cuda.mem_alloc(size), self.cuda.mem_alloc(size)
            self.cuda.memset_d8_async(source, 1, size, self.stream)
            for _ in range(runs + 1):  # the first one wakes the device
                self.wait()
                begun = time.perf_counter()
                self.cuda.memcpy_dtod_async(target, source, size, self.stream)
                self.wait()
                best = min(best, time.perf_counter() - begun)
            source.free()
            target.free()
        return 2 * size / best / 1e9

    def release(self) -> None:
        """Free everything that is held here."""
        self.wait()
        self._kernels.clear()
        self._constants.clear()
        for memory in self._images:
            memory.drop()
        del self._module, self._sending, self._tasks, self._fetching, self._sent, self._back, self.scratch, self._done, self.stream
