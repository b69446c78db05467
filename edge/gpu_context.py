"""The primary context, the stream and the memory of whoever computes on the GPU."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError

ALIGNMENT = 256  # bytes: what cudaMalloc gives, so that an engine finds every tensor as if it were alone
Layout = Mapping[str, tuple[tuple[int, ...], str]]  # name: (shape, numpy type)


class NoGraph(SonosweepError):
    """Work cannot be recorded as a CUDA graph; asking for it step by step gives the same answers."""


class Primary(NamedTuple):
    """pycuda's driver; the primary context of device 0, which TensorRT uses too; the process's one stream, so that what one part
    leaves on the device the next finds done.
    """

    cuda: Any
    context: Any
    stream: Any


@lru_cache(maxsize=1)
def primary() -> Primary:
    """Made once, for the life of the process.

    pycuda cannot release a primary context and take it off the stack, and its destructor releases it as if it were another
    kind. ``weakref.finalize`` does it at exit, after all volumes and steppers.
    """
    import pycuda.driver as cuda

    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    weakref.finalize(Stream, _leave, cuda, context)
    context.push()
    try:
        return Primary(cuda, context, cuda.Stream())
    finally:
        cuda.Context.pop()


def _leave(cuda: Any, context: Any) -> None:
    context.push()
    primary.cache_clear()
    cuda.Context.pop()
    context.detach()


@contextmanager
def current(kind: type[SonosweepError]) -> Iterator[None]:
    """The primary context is current on the calling thread; a failure of the GPU is raised as ``kind``."""
    cuda, context, _ = primary()
    context.push()
    try:
        yield
    except cuda.MemoryError as wrong:
        raise kind("the GPU's memory is full; close what else uses it") from wrong
    except cuda.Error as wrong:
        raise kind(f"the GPU failed ({wrong}); start the program again, and the machine if that does not help") from wrong
    finally:
        cuda.Context.pop()


class Stream:
    """The process's queue of work. All its calls are made within ``current``."""

    def __init__(self) -> None:
        self.cuda, _, self._stream = primary()
        self._done = self.cuda.Event(self.cuda.event_flags.BLOCKING_SYNC | self.cuda.event_flags.DISABLE_TIMING)  # waiting burns no core

    @property
    def handle(self) -> int:
        """As TensorRT wants it."""
        return int(self._stream.handle)

    def copy(self, source: Any, target: Any) -> None:
        """Between pinned arrays and addresses on the device, after all that was asked before."""
        to_device = isinstance(source, np.ndarray)
        (self.cuda.memcpy_htod_async if to_device else self.cuda.memcpy_dtoh_async)(target, source, self._stream)

    def copy_within(self, source: int, target: int, size: int) -> None:
        """Between addresses on the device."""
        self.cuda.memcpy_dtod_async(target, source, size, self._stream)

    def wait(self) -> None:
        """Until all that was asked before is done."""
        self._done.record(self._stream)
        self._done.synchronize()

    def release(self) -> None:
        """Leave it."""
        self.wait()
        del self._stream, self._done


def graph_driver() -> Any:
    """cuda-bindings, since pycuda has no graphs; ``NoGraph`` without it."""
    try:
        from cuda.bindings import driver
    except ImportError as wrong:
        raise NoGraph("cuda-bindings is not installed; run: pip install 'sonosweep[graphs]'") from wrong
    return driver


class Graph:
    """Work recorded once, then asked for with one call. It has run before, so that whoever does it has set itself up."""

    def __init__(self, stream: Stream, work: Callable[[], bool]) -> None:
        """``work`` asks for things on the stream and answers whether that was taken. ``NoGraph``; the stream is usable after it."""
        driver = self._driver = graph_driver()
        self._stream = driver.CUstream(stream.handle)
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._asked("cuStreamBeginCapture", self._stream, mode)
        taken = False
        try:
            taken = work()
        finally:
            status, graph = driver.cuStreamEndCapture(self._stream)
        if not taken or int(status):
            raise NoGraph(f"a step cannot be recorded (CUDA error {int(status)})")
        self._graph = self._asked("cuGraphInstantiate", graph, 0)
        self._asked("cuGraphDestroy", graph)

    def launch(self) -> None:
        """Ask for the work. ``NoGraph`` where the driver refuses."""
        self._asked("cuGraphLaunch", self._graph, self._stream)

    def release(self) -> None:
        """Give it back."""
        self._driver.cuGraphExecDestroy(self._graph)

    def _asked(self, call: str, *arguments: Any) -> Any:
        status, *answer = getattr(self._driver, call)(*arguments)
        if int(status):
            raise NoGraph(f"{call} failed (CUDA error {int(status)})")
        return answer[0] if answer else None


class Block:
    """Arrays side by side in one piece of device memory, each with its place in pinned host memory (``host``, by name)."""

    def __init__(self, stream: Stream, layout: Layout) -> None:
        self._stream = stream
        sizes = {name: math.prod(shape) * np.dtype(kind).itemsize for name, (shape, kind) in layout.items()}
        ends = np.cumsum([-(-size // ALIGNMENT) * ALIGNMENT for size in sizes.values()], dtype=np.int64).tolist()
        starts = dict(zip(layout, [0, *ends], strict=False))
        total = ends[-1] if ends else ALIGNMENT
        self._pinned: NDArray[np.uint8] = stream.cuda.pagelocked_empty(total, np.uint8)
        self._memory = stream.cuda.mem_alloc(total)
        self._places = {name: slice(at, at + sizes[name]) for name, at in starts.items()}
        self.addresses = {name: int(self._memory) + at for name, at in starts.items()}
        self.host = {name: self._pinned[self._places[name]].view(kind).reshape(shape) for name, (shape, kind) in layout.items()}

    def send(self, *names: str) -> None:
        """Ask for the host's values (of ``names``, else of all) to go to the device."""
        for place, address in self._pieces(names):
            self._stream.copy(self._pinned[place], address)

    def fetch(self) -> None:
        """Ask for the device's values; they are in ``host`` after a ``wait``."""
        for place, address in self._pieces(()):
            self._stream.copy(address, self._pinned[place])

    def release(self) -> None:
        """Free both memories."""
        self.host.clear()
        del self._memory, self._pinned

    def _pieces(self, names: tuple[str, ...]) -> list[tuple[slice, int]]:
        if names:
            return [(self._places[name], self.addresses[name]) for name in names]
        return [(slice(0, self._pinned.size), int(self._memory))] if self.addresses else []
