"""TensorRT: runs an engine on the GPU, the network's state staying there. The only file that imports TensorRT (or TensorRT-RTX).

A frame's window goes to the device, unless it was made there, and the motion comes back; state tensors lie there twice, and every
step reads one set and writes the other. Both turns are recorded as CUDA graphs where cuda-bindings is installed.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np

import edge.gpu as gpu
import edge.gpu_context as gpu_context
from edge.compounding.image import DeviceImage, Image
from edge.errors import SonosweepError
from edge.motion.bundle import Bundle
from edge.motion.card import Card, Ports
from edge.motion.engine import EngineRefused, Machine, find_engine
from edge.motion.source import MotionFailed, MotionUnavailable
from edge.motion.stepper import Factory, Tensors, check_signature

MODULES = ("tensorrt", "tensorrt_rtx")  # the first that is installed is taken
VARIANTS = ("int8-fp16", "fp16")  # best first
CURE = "on a Jetson it comes with JetPack (apt: python3-libnvinfer; make the venv with --system-site-packages), else pip install"


class TensorRtMissing(MotionUnavailable):
    """No TensorRT can be imported."""


class EngineUnreadable(EngineRefused):
    """TensorRT does not take a plan, although it is the one that was proved."""


def library() -> Any:
    """TensorRT's module. ``TensorRtMissing``. Importing it needs no driver; making a ``Runtime`` without one ends the process."""
    lacks = []
    for name in filter(find_spec, MODULES):
        try:
            return importlib.import_module(name)
        except ImportError as wrong:
            lacks.append(f"{name} cannot be imported ({wrong})")
    raise TensorRtMissing(f"{'; '.join(lacks) or 'TensorRT is not installed'}; {CURE} 'sonosweep[tensorrt]' or tensorrt-rtx-cu13")


def missing() -> str:
    """What this backend lacks here, with the cure; empty where it can run (an engine may have to be built first)."""
    if lack := gpu.missing():
        return lack
    return "" if any(map(find_spec, MODULES)) else f"TensorRT is not installed; {CURE} 'sonosweep[tensorrt]'"


def machine() -> Machine:
    """What engines depend on here. ``gpu.NoDevice``, ``TensorRtMissing``."""
    device, trt = gpu.probe(), library()
    return Machine(
        tensorrt=trt.__name__,
        tensorrt_version=trt.__version__,
        cuda_runtime=gpu.cuda_runtime(),
        cuda_driver=device.cuda,
        driver=device.driver,
        gpu=device.name,
        compute_capability=device.compute_capability,
        sm_count=device.sm_count,
        l4t=gpu.l4t(),
    )


def load(bundle: Bundle, variant: str, threads: int = 0) -> Factory:
    """Steppers on the engine that was built here for this variant. ``EngineRefused``. ``threads`` is for the CPU."""
    return Engine(bundle.card, find_engine(bundle, variant, machine()).plan).stepper


def listener(trt: Any) -> tuple[Any, list[tuple[bool, str]]]:
    """A logger, and the list in which it collects what TensorRT complains of, as (is an error, text)."""
    said: list[tuple[bool, str]] = []
    errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    def log(self: Any, severity: Any, message: str) -> None:
        if severity in (*errors, trt.ILogger.WARNING):
            said.append((severity in errors, message.strip()))

    return type("Log", (trt.ILogger,), {"log": log})(), said


def complaint(said: list[tuple[bool, str]]) -> str:
    """The last error that was heard, for a message."""
    return next((text[:300] for error, text in reversed(said) if error), "it does not say why")


class Engine:
    """A plan, read and ready: its ``inputs`` and ``outputs``, and steppers on it. ``plan`` is trusted: see ``edge.motion.engine``."""

    def __init__(self, card: Card, plan: bytes) -> None:
        if lack := missing():
            raise MotionUnavailable(f"trt: {lack}")
        self.trt, self.card = library(), card
        self._log, self.said = listener(self.trt)
        with gpu_context.current(MotionUnavailable):
            self._runtime = self.trt.Runtime(self._log)
            self.engine = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise EngineUnreadable(
                f"{card.name}: TensorRT {self.trt.__version__} does not read its engine: {complaint(self.said)}; build it again with "
                "`sonosweep export engine`"
            )
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        inputs = {name for name in names if self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT}
        self.inputs: Ports = {name: self._port(name) for name in names if name in inputs}
        self.outputs: Ports = {name: self._port(name) for name in names if name not in inputs}
        check_signature(card, self)

    def stepper(self, normalisation: Mapping[str, tuple[float, ...]] | None = None, whole: bool = False) -> DeviceStepper:
        """See ``DeviceStepper``."""
        return DeviceStepper(self, normalisation, whole)

    def layers(self) -> str:
        """What TensorRT's inspector says of the layers, as JSON."""
        return str(self.engine.create_engine_inspector().get_engine_information(self.trt.LayerInformationFormat.JSON))

    def _port(self, name: str) -> tuple[tuple[int | str, ...], str]:
        kind = self.engine.get_tensor_dtype(name)
        try:
            known = np.dtype(self.trt.nptype(kind)).name
        except TypeError:  # a type that numpy has not, which no card has either
            known = str(kind)
        return tuple(self.engine.get_tensor_shape(name)), known


class DeviceStepper:
    """As ``Stepper``, with the state on the device. Answers with the motion, its uncertainty and the statistics; ``whole``: with the
    state as well, which a proof needs. ``MotionUnavailable`` without memory, ``MotionFailed`` from any step; not for two threads at once.
    """

    def __init__(self, engine: Engine, normalisation: Mapping[str, tuple[float, ...]] | None = None, whole: bool = False) -> None:
        """``normalisation`` replaces the card's values by graph input, in C order."""
        card = self._card = engine.card
        self._engine, self._whole, self._turn = engine, whole, 0
        self._graphs: list[gpu_context.Graph] = []  # of each turn; none where they cannot be had, and then ``note`` says why
        self.note = ""
        inputs, outputs = map(_sizes, card.signature())
        states = {s.input: inputs[s.input] for s in card.state}
        fixed = {n.input: inputs[n.input] for n in card.normalisation}
        given = {name: port for name, port in inputs.items() if name not in states and name not in fixed}
        said = {name: port for name, port in outputs.items() if name not in {s.output for s in card.state}}
        with gpu_context.current(MotionUnavailable):
            self._stream = gpu_context.Stream()
            self._given, self._fixed, self._said = (gpu_context.Block(self._stream, layout) for layout in (given, fixed, said))
            self._states = [gpu_context.Block(self._stream, states) for _ in range(2)]  # [turn] is read, the other is written
            blocks = [self._given, self._fixed, self._said, *self._states]
            self._free = weakref.finalize(self, _release, self._stream, self._graphs, blocks)
            try:
                self._prepare(normalisation or {})
            except BaseException:
                self._free()
                raise

    def start(self, image: Image) -> None:
        """Forget the sweep before and take the first image of the next one; a first image has no motion."""
        set_back = {s.input for s in self._card.state if s.start == "initial"}
        with gpu_context.current(MotionFailed):
            self._reset({s.input for s in self._card.state})
            for _ in range(self._card.start_runs):
                self._run(image, 1.0)
                self._reset(set_back)
                self._stream.wait()

    def step(self, image: Image, interval: float = 1.0) -> Tensors:
        """One step. ``interval``: the time since the image before over the usual one. The answer is the caller's own."""
        with gpu_context.current(MotionFailed):
            self._run(image, interval)
            self._said.fetch()
            new = self._states[self._turn]
            if self._whole:
                new.fetch()
            self._stream.wait()
        states = {s.output: new.host[s.input].copy() for s in self._card.state} if self._whole else {}
        return {name: value.copy() for name, value in self._said.host.items()} | states

    def _prepare(self, normalisation: Mapping[str, tuple[float, ...]]) -> None:
        """All that comes before the first image."""
        card, engine = self._card, self._engine
        self._context = engine.engine.create_execution_context()
        if self._context is None:
            raise MotionUnavailable(f"{card.name}: TensorRT makes no execution context: {complaint(engine.said)}; free GPU memory")
        for name, address in (self._given.addresses | self._fixed.addresses | self._said.addresses).items():
            self._point(name, address, MotionUnavailable)
        for entry in card.normalisation:
            values = normalisation.get(entry.input, entry.values)
            self._fixed.host[entry.input][...] = np.array(values, np.float32).reshape(entry.shape)
        self._fixed.send()
        self._record()
        self._reset({s.input for s in card.state})
        self._stream.wait()

    def _run(self, image: Image, interval: float) -> None:
        """Ask for one step; the state that it leaves is the one that the next step reads. The step before must be waited for."""
        name, given = self._card.image.input, [self._card.interval.input] if self._card.interval else []
        if isinstance(image, DeviceImage):
            self._stream.copy_within(image.address, self._given.addresses[name], image.nbytes)
        else:
            self._given.host[name][0, 0] = image
            given.append(name)
        if self._card.interval:
            self._given.host[self._card.interval.input][...] = interval
        if given:
            self._given.send(*given)
        if self._graphs:
            self._launch()
        else:
            self._aim(MotionFailed)
            if not self._ask():
                raise MotionFailed(f"{self._card.name}: TensorRT refuses the step: {complaint(self._engine.said)}; start a new sweep")
        self._turn = 1 - self._turn

    def _launch(self) -> None:
        try:
            self._graphs[self._turn].launch()
        except gpu_context.NoGraph as wrong:
            raise MotionFailed(f"{self._card.name}: the GPU refuses the step: {wrong}; start a new sweep") from wrong

    def _record(self) -> None:
        """Both turns as graphs. Each runs once before, on nothing: TensorRT sets itself up in a first run. States are rubbish then."""
        try:
            gpu_context.graph_driver()
            for array in self._given.host.values():
                array[...] = 0
            self._given.send()
            for self._turn in (0, 1):
                self._aim(MotionUnavailable)
                if not self._ask():
                    raise MotionUnavailable(f"{self._card.name}: TensorRT refuses a step: {complaint(self._engine.said)}; free GPU memory")
                self._stream.wait()
                self._graphs.append(gpu_context.Graph(self._stream, self._ask))
        except gpu_context.NoGraph as wrong:
            while self._graphs:
                self._graphs.pop().release()
            self.note = f"no CUDA graph: {wrong}"
        self._turn = 0

    def _aim(self, kind: type[SonosweepError]) -> None:
        """Let this turn read one set of states and write the other."""
        old, new = self._states[self._turn], self._states[1 - self._turn]
        for state in self._card.state:
            self._point(state.input, old.addresses[state.input], kind)
            self._point(state.output, new.addresses[state.input], kind)

    def _ask(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream.handle))

    def _reset(self, names: set[str]) -> None:
        """Set these states back to what they are before a sweep."""
        state = self._states[self._turn]
        for entry in self._card.state:
            if entry.input in names:
                state.host[entry.input][...] = entry.initial
                state.send(entry.input)

    def _point(self, name: str, address: int, kind: type[SonosweepError]) -> None:
        if not self._context.set_tensor_address(name, address):
            raise kind(f"{self._card.name}: TensorRT takes no address for {name}: {complaint(self._engine.said)}; build the engine again")


def _sizes(layout: Ports) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (tuple(map(int, shape)), kind) for name, (shape, kind) in layout.items()}


def _release(stream: gpu_context.Stream, graphs: list[gpu_context.Graph], blocks: list[gpu_context.Block]) -> None:
    """Free what a stepper holds, on whatever thread it ends. A GPU that failed has nothing to give back, and its failure was told."""
    with suppress(MotionFailed), gpu_context.current(MotionFailed):
        stream.wait()
        for graph in graphs:
            graph.release()
        for block in blocks:
            block.release()
        stream.release()
