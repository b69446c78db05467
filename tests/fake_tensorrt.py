"""TensorRT, pycuda and cuda-bindings as far as we use them, on the CPU: a plan is an ONNX file, device memory is host memory.

What is asked of a stream is done when somebody waits for it and not before, so that a forgotten wait shows; every call but ``push``
wants a current context; memory that was never written holds rubbish. ``refuse`` names calls that answer no.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

RUBBISH = 0xAB


class Fake:
    """One machine: ``cuda`` stands for pycuda.driver, ``tensorrt`` for tensorrt, ``driver`` for libcuda.so.1.

    ``calls`` counts steps that were asked for one by one ("enqueue") and as graphs ("graph").
    """

    def __init__(self) -> None:
        self.refuse: set[str] = set()
        self.depth = self.allocated = 0
        self.traffic = Counter()  # bytes to and from the device
        self.calls = Counter()
        self.todo: list[Any] = []
        self.recording: list[Any] | None = None
        self.stream: int | None = 7  # the one that work may be asked for on; None: any
        self.cuda, self.pycuda, self.tensorrt = _cuda(self), _module("pycuda"), _tensorrt(self)
        self.pycuda.driver = self.cuda
        self.driver = driver()

    def install(self, monkeypatch: Any) -> Fake:
        """Put all of it where imports and ctypes find it."""
        import edge.gpu as gpu
        import edge.gpu_context as gpu_context

        def load(name: str) -> Any:
            if name != "libcuda.so.1" or self.driver is None:
                raise OSError(name)
            return self.driver

        gpu_context.primary.cache_clear()
        monkeypatch.setattr(gpu.ctypes, "CDLL", load)
        modules = {"pycuda": self.pycuda, "pycuda.driver": self.cuda, "tensorrt": self.tensorrt, "cuda.bindings": _bindings(self)}
        for name, module in {**modules, "cuda": _module("cuda")}.items():
            monkeypatch.setitem(sys.modules, name, module)
        return self

    def ask(self, work: Any) -> None:
        """Do it when somebody waits, or record it."""
        (self.todo if self.recording is None else self.recording).append(work)

    def check(self, call: str, kind: type[Exception]) -> None:
        """Within a context, and not refused."""
        assert self.depth, f"{call} without a current context"
        if call in self.refuse:
            raise kind(f"{call} failed: made to")


def driver(devices: int = 1, status: int = 0) -> Any:
    """A libcuda that answers so."""
    numbers = {75: 8, 76: 7, 16: 8, 18: 0}

    def answer(pointer: Any, value: int) -> int:
        pointer._obj.value = value
        return 0

    def name(text: Any, size: int, device: Any) -> int:
        text.value = b"Orin"
        return 0

    return SimpleNamespace(
        cuInit=lambda flags: status,
        cuDeviceGetCount=lambda pointer: answer(pointer, devices),
        cuDriverGetVersion=lambda pointer: answer(pointer, 12060),
        cuDeviceGet=lambda pointer, number: answer(pointer, number),
        cuDeviceGetName=name,
        cuDeviceGetAttribute=lambda pointer, which, device: answer(pointer, numbers[which]),
    )


def _module(name: str, **content: Any) -> Any:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(content)
    return module


def _cuda(fake: Fake) -> Any:
    class Error(Exception): ...

    class OutOfMemory(Error): ...

    class Context:
        def push(self) -> None:
            fake.depth += 1

        @staticmethod
        def pop() -> None:
            fake.depth -= 1

        def detach(self) -> None: ...

    class Stream:
        handle = fake.stream

        def __init__(self) -> None:
            fake.check("Stream", Error)

    class Event:
        def __init__(self, flags: int) -> None:
            fake.check("Event", Error)

        def record(self, stream: Stream) -> None:
            fake.check("record", Error)

        def synchronize(self) -> None:
            fake.check("synchronize", Error)
            assert fake.recording is None, "nobody may wait while a graph is recorded"
            while fake.todo:
                fake.todo.pop(0)()

    class Memory:
        def __init__(self, size: int) -> None:
            fake.check("mem_alloc", OutOfMemory)
            self._bytes = np.full(size, RUBBISH, np.uint8)
            fake.allocated += size

        def __int__(self) -> int:
            return int(self._bytes.ctypes.data)

        def __del__(self) -> None:
            fake.allocated -= self._bytes.size if hasattr(self, "_bytes") else 0

    def copy(way: str, target: int, source: int, size: int, keep: Any) -> None:
        fake.check(way, Error)
        fake.traffic[way] += size
        fake.ask(lambda: (ctypes.memmove(target, source, size), keep))

    return _module(
        "pycuda.driver",
        Error=Error,
        MemoryError=OutOfMemory,
        Context=Context,
        Stream=Stream,
        Event=Event,
        event_flags=SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2),
        init=lambda: None,
        Device=lambda number: SimpleNamespace(retain_primary_context=Context),
        mem_alloc=Memory,
        pagelocked_empty=lambda size, kind: np.full(size, RUBBISH, kind),
        memcpy_htod_async=lambda target, source, stream: copy("to device", target, source.ctypes.data, source.nbytes, source),
        memcpy_dtoh_async=lambda target, source, stream: copy("from device", target.ctypes.data, source, target.nbytes, target),
        memcpy_dtod_async=lambda target, source, size, stream: copy("within", target, source, size, None),
    )


def _bindings(fake: Fake) -> Any:
    """cuda.bindings, whose calls answer (status, what there is to answer)."""

    def begin(stream: Any, mode: str) -> tuple[int]:
        fake.recording = []
        return (0,)

    def end(stream: Any) -> tuple[int, Any]:
        graph, fake.recording = fake.recording, None
        return 0, graph

    def launch(graph: list[Any], stream: Any) -> tuple[int]:
        assert fake.depth and stream == fake.stream
        if "cuGraphLaunch" in fake.refuse:
            return (700,)
        fake.calls["graph"] += 1
        fake.todo += graph
        return (0,)

    def instantiate(graph: list[Any], flags: int) -> tuple[int, Any]:
        return (801, None) if "cuGraphInstantiate" in fake.refuse else (0, graph)

    driver = _module(
        "cuda.bindings.driver",
        CUstream=lambda handle: handle,
        CUstreamCaptureMode=SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1),
        cuStreamBeginCapture=begin,
        cuStreamEndCapture=end,
        cuGraphInstantiate=instantiate,
        cuGraphDestroy=lambda graph: (0,),
        cuGraphLaunch=launch,
        cuGraphExecDestroy=lambda graph: fake.calls.update(["graph given back"]) or (0,),
    )
    return _module("cuda.bindings", driver=driver)


def _tensorrt(fake: Fake) -> Any:
    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)

    class Context:
        def __init__(self, session: Any) -> None:
            self._session, self._addresses = session, {}

        def set_tensor_address(self, name: str, address: int) -> bool:
            self._addresses[name] = address
            return "set_tensor_address" not in fake.refuse

        def execute_async_v3(self, stream_handle: int) -> bool:
            assert fake.depth and stream_handle == (fake.stream or stream_handle)
            fake.calls["enqueue"] += 1
            fake.ask(lambda addresses=dict(self._addresses): self._run(addresses))
            return "execute_async_v3" not in fake.refuse and not (fake.recording and "recording" in fake.refuse)

        def _run(self, addresses: dict[str, int]) -> None:
            outputs = [port.name for port in self._session.get_outputs()]
            found = self._session.run(outputs, {p.name: _at(addresses[p.name], p.shape).copy() for p in self._session.get_inputs()})
            for name, value in zip(outputs, found, strict=True):
                _at(addresses[name], value.shape)[...] = value

    class Engine:
        def __init__(self, session: Any) -> None:
            self._session = session
            self._ports = {port.name: port for port in (*session.get_inputs(), *session.get_outputs())}
            self._inputs = {port.name for port in session.get_inputs()}
            self.num_io_tensors = len(self._ports)

        def get_tensor_name(self, i: int) -> str:
            return list(self._ports)[i]

        def get_tensor_mode(self, name: str) -> str:
            return "in" if name in self._inputs else "out"

        def get_tensor_shape(self, name: str) -> list[int]:
            return self._ports[name].shape

        def get_tensor_dtype(self, name: str) -> str:
            return self._ports[name].type

        def create_execution_context(self) -> Context | None:
            return None if "create_execution_context" in fake.refuse else Context(self._session)

        def create_engine_inspector(self) -> Any:
            return SimpleNamespace(get_engine_information=lambda format: '{"Layers": [{"LayerType": "Reformat"}], "Bindings": []}')

    class Runtime:
        def __init__(self, log: Any) -> None:
            assert fake.driver is not None, "a Runtime without a driver ends the process"
            self._log = log

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            try:
                return Engine(onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"]))
            except Exception:  # of onnxruntime's many kinds
                self._log.log(ILogger.ERROR, "magicTag mismatch")
                return None

    def nptype(kind: str) -> Any:
        return {"tensor(float)": np.float32, "tensor(float16)": np.float16}[kind]

    return _module(
        "tensorrt",
        __version__="10.3.0.30",
        ILogger=ILogger,
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"),
        LayerInformationFormat=SimpleNamespace(JSON=1),
        nptype=nptype,
        **_builder(fake),
    )


def _builder(fake: Fake) -> dict[str, Any]:
    class Network:
        num_layers = 1
        graph = b""

    class Parser:
        num_errors = 0

        def __init__(self, network: Network, log: Any) -> None:
            self._network = network

        def parse(self, graph: bytes) -> bool:
            self._network.graph = graph
            return True

    class Config:
        def __init__(self) -> None:
            self.flags: list[str] = []

        def set_flag(self, flag: str) -> None:
            self.flags.append(flag)

        def set_memory_pool_limit(self, pool: str, size: int) -> None: ...

        def create_timing_cache(self, known: bytes) -> bytes:
            return known

        def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
            self._cache = cache
            return not ignore_mismatch and not (cache and "set_timing_cache" in fake.refuse)

        def get_timing_cache(self) -> Any:
            return SimpleNamespace(serialize=lambda: self._cache + b"timed ")

    class Builder:
        def __init__(self, log: Any) -> None:
            self._log = log

        def create_builder_config(self) -> Config:
            fake.config = Config()
            return fake.config

        def create_network(self, flags: int) -> Network:
            fake.config.network_flags = flags
            return Network()

        def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
            said = next((words for words in fake.refuse if words.startswith("build: ")), None)
            if said is None:
                return network.graph
            self._log.log(fake.tensorrt.ILogger.ERROR, said)
            return None

    return {
        "Builder": Builder,
        "OnnxParser": Parser,
        "IProgressMonitor": object,
        "NetworkDefinitionCreationFlag": SimpleNamespace(STRONGLY_TYPED=1),
        "BuilderFlag": SimpleNamespace(FP16="fp16 flag", INT8="int8 flag"),
        "MemoryPoolType": SimpleNamespace(WORKSPACE="workspace"),
        "ProfilingVerbosity": SimpleNamespace(DETAILED="detailed"),
    }


def _at(address: int, shape: Any) -> np.ndarray:
    """The float32 array that lies there."""
    size = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).reshape(shape)
