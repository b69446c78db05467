"""Parses a step graph and builds an engine with TensorRT. Runs as a process of its own: TensorRT may end it, or the kernel may.

    python -m export.engine.build REQUEST

Each line on stdout is one JSON message: ``Stepped`` for progress, at last ``Built`` or ``Refused``.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edge.atomic import replacing
from edge.console import write
from edge.errors import SonosweepError
from edge.motion.bundle import open_bundle
from edge.motion.trt import MODULES, complaint, library, listener

WEAK = {"int8-fp16": ("FP16", "INT8"), "fp16": ("FP16",)}  # BuilderFlags that let TensorRT below 11 choose, by variant
FULL_TENSORRT = MODULES[0]  # the others keep no timing cache
MEMORY = re.compile(r"out ?of ?memory|insufficient memory|bad_alloc|cannot allocate|alloc\w* fail", re.IGNORECASE)
LESS_MEMORY = "give it less with --workspace-mib, end what else runs, or add swap"


class EngineNotBuilt(SonosweepError):
    """No engine came of a graph."""


class GraphNotParsed(EngineNotBuilt):
    """TensorRT's parser does not take the graph."""


class BuilderRefused(EngineNotBuilt):
    """TensorRT took the graph and built no engine of it."""


class BuildOutOfMemory(EngineNotBuilt):
    """Memory ran out while an engine was built."""


class BuilderDied(EngineNotBuilt):
    """The building process ended without an answer."""


class WeakTypingUnavailable(EngineNotBuilt):
    """This TensorRT, or this variant, knows strong typing only."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A line from the building process."""


class Stepped(Message, frozen=True, kw_only=True):
    """One step of TensorRT's ``phase`` is done."""

    phase: str


class Refused(Message, frozen=True, kw_only=True):
    """``kind``: the name of an ``EngineNotBuilt``."""

    kind: str
    text: str


class Built(Message, frozen=True, kw_only=True):
    """An engine of ``plan_bytes``; ``warnings``: what TensorRT said, each once, and how often."""

    layers: int  # of the parsed network
    plan_bytes: int
    seconds: float
    warnings: dict[str, int]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to build. Paths are empty where nothing is to be written."""

    bundle: str
    variant: str
    weakly_typed: bool
    workspace_mib: int
    optimisation_level: int
    plan: str = ""
    timing_cache: str = ""


def precision(variant: str, weakly_typed: bool) -> tuple[str, tuple[str, ...]]:
    """How the engine card calls it, and the builder flags. ``WeakTypingUnavailable`` for a variant that has none."""
    if not weakly_typed:
        return "strongly typed", ()
    if variant not in WEAK:
        raise WeakTypingUnavailable(f"{variant}: cannot be built weakly typed; {', '.join(WEAK)} can, or leave --weakly-typed out")
    return f"weakly typed {'+'.join(WEAK[variant]).lower()}", WEAK[variant]


def build(trt: Any, request: Request, tell: Callable[[Message], None]) -> Built:
    """Build, and write plan and timing cache where the request names files. ``EngineNotBuilt``: its kinds say what to do."""
    log, said = listener(trt)
    builder = trt.Builder(log)
    config = builder.create_builder_config()
    strong = 0 if request.weakly_typed else 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    for name in precision(request.variant, request.weakly_typed)[1]:
        flag = getattr(trt.BuilderFlag, name, None)  # gone in TensorRT 11 and never in TensorRT-RTX
        if flag is None:
            raise WeakTypingUnavailable(f"{trt.__name__} {trt.__version__} knows strong typing only; leave --weakly-typed out")
        config.set_flag(flag)
    network = builder.create_network(strong)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(open_bundle(Path(request.bundle)).graph(request.variant)):
        why = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise GraphNotParsed(f"{request.variant}: {trt.__name__} {trt.__version__} does not take the graph: {why}; use another variant")
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
    config.builder_optimization_level = request.optimisation_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the layer report needs it
    config.progress_monitor = monitor = _monitor(trt, tell)
    timed = bool(request.timing_cache) and _load_timings(config, Path(request.timing_cache), said)
    began = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - began
    del monitor  # it had to outlive the build
    if plan is None:
        if any(MEMORY.search(text) for error, text in said if error):
            raise BuildOutOfMemory(f"{request.variant}: memory ran out ({complaint(said)}); {LESS_MEMORY}")
        raise BuilderRefused(
            f"{request.variant}: {trt.__name__} {trt.__version__} builds no engine: {complaint(said)}; use another variant"
        )
    content = bytes(plan)
    if request.plan:
        Path(request.plan).write_bytes(content)
    if timed:
        with replacing(Path(request.timing_cache)) as out:
            out.write(bytes(config.get_timing_cache().serialize()))
    warnings = [text for error, text in said]
    counted = {text: warnings.count(text) for text in dict.fromkeys(warnings)}
    return Built(layers=network.num_layers, plan_bytes=len(content), seconds=seconds, warnings=counted)


def _load_timings(config: Any, file: Path, said: list[tuple[bool, str]]) -> bool:
    """Let the builder use what builds on this GPU timed before, or begin anew where it does not take that; False where it times nothing."""
    known = [file.read_bytes()] if file.exists() else []
    for timings in (*known, b""):
        cache = config.create_timing_cache(timings)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return True
        said.append((False, f"{file}: TensorRT does not take these timings; it times anew"))
    return False


def _monitor(trt: Any, tell: Callable[[Message], None]) -> Any:
    """TensorRT calls it from several threads."""

    def step_complete(self: Any, phase: str, step: int) -> bool:
        tell(Stepped(phase=phase))
        return True

    silent = {"phase_start": lambda self, phase, parent, steps: None, "phase_finish": lambda self, phase: None}
    return type("Monitor", (trt.IProgressMonitor,), {**silent, "step_complete": step_complete})()


def main(argument: str) -> int:
    """Do what the request says; the answer is the last line."""
    lock = threading.Lock()

    def tell(message: Message) -> None:
        with lock:
            write(msgspec.json.encode(message).decode() + "\n")

    try:
        tell(build(library(), msgspec.json.decode(argument, type=Request), tell))
    except EngineNotBuilt as wrong:
        tell(Refused(kind=type(wrong).__name__, text=str(wrong)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
