"""Building engines: TensorRT-RTX parses and builds on a CPU, and a builder that dies is told by name."""

from __future__ import annotations

import json
import os
import signal
import sys

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from engine_bundle import GRAPH, request

import edge.caches as caches
import edge.motion.trt as trt
from edge.app import main
from edge.motion.bundle import find_bundle, open_bundle, shipped_bundles
from export.engine import builder
from export.engine.build import (
    BuilderDied,
    BuildOutOfMemory,
    EngineNotBuilt,
    GraphNotParsed,
    build,
)
from export.engine.builder import build_apart

# The real builder: TensorRT-RTX needs no GPU to parse and build.


@pytest.fixture
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed (pip install tensorrt-rtx-cu13)")


def test_tensorrt_builds_in_a_process_of_its_own_and_tells_its_steps(rtx, packed, tmp_path):
    lines: list[str] = []

    def shown(stream):
        for line in stream:
            lines.append(line)
            yield line

    built = build_apart(request(packed, plan=str(tmp_path / "plan")), shown)
    assert built.layers > 10 and built.plan_bytes == (tmp_path / "plan").stat().st_size > 1000
    assert "Stepped" in lines[0] and "Built" in lines[-1]


@pytest.mark.parametrize("name", shipped_bundles())
def test_tensorrt_takes_every_variant_of_every_shipped_bundle(rtx, name, capsys):
    assert main(["export", "engine", name, "--check-only", "--json"]) == 0
    built = json.loads(capsys.readouterr().out)["built"]
    assert built.keys() == open_bundle(find_bundle(name)).card.graphs.keys()
    assert all(one["plan_bytes"] > 100_000 for one in built.values())


def test_check_only_takes_every_variant_and_keeps_nothing(rtx, packed, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(caches, "CACHES", [tmp_path / "var", tmp_path / "home"])
    assert main(["export", "engine", str(packed), "--check-only", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["built"]) == ["fp32", "fp16", "int8-fp16"]
    assert all(one["plan_bytes"] > 1000 for one in told["built"].values())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("graph", [b"no graph", GRAPH[: len(GRAPH) // 2]])
def test_a_graph_that_tensorrt_does_not_take_is_refused_in_its_own_words(rtx, packed, monkeypatch, graph):
    monkeypatch.setattr("edge.motion.bundle.Bundle.graph", lambda self, variant: graph)
    with pytest.raises(GraphNotParsed, match=r"fp16: tensorrt_rtx .* does not take the graph: .*use another variant"):
        build(rtx, request(packed), lambda message: None)


def test_strong_typing_is_all_that_tensorrt_rtx_knows(rtx, packed, capsys):
    assert main(["export", "engine", str(packed), "--check-only", "--variant", "fp16", "--weakly-typed"]) == 1
    assert "knows strong typing only; leave --weakly-typed out" in capsys.readouterr().err


def test_a_type_error_in_the_graph_is_refused_where_typing_is_strong(rtx, packed, monkeypatch):
    """A half and a single must not meet without a cast."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(GRAPH)
    gain = next(tensor for tensor in model.graph.initializer if tensor.name == "gain")
    gain.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(gain).astype("float16"), "gain"))
    monkeypatch.setattr("edge.motion.bundle.Bundle.graph", lambda self, variant: model.SerializeToString())
    with pytest.raises(EngineNotBuilt, match="tensorrt_rtx"):
        build(rtx, request(packed), lambda message: None)


FACE = {  # what the fake TensorRT stands for
    "Runtime": ("deserialize_cuda_engine",),
    "ICudaEngine": ("num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_shape", "get_tensor_dtype"),
    "IExecutionContext": ("set_tensor_address", "execute_async_v3"),
    "EngineInspector": ("get_engine_information",),
    "TensorIOMode": ("INPUT", "OUTPUT"),
    "LayerInformationFormat": ("JSON",),
}


def test_what_the_fake_stands_for_is_there_in_the_real_one(rtx):
    for name, members in FACE.items():
        for member in members:
            assert hasattr(getattr(rtx, name), member), f"{name}.{member}"
    assert {"create_execution_context", "create_engine_inspector"} <= set(dir(rtx.ICudaEngine))
    assert rtx.nptype(rtx.float32) is np.float32


# A builder that dies.


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", BuilderDied, "died of SIGSEGV: it said nothing"),
        ("os.kill(os.getpid(), signal.SIGABRT)", BuilderDied, "died of SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", BuildOutOfMemory, "was killed, as the system does where memory runs out"),
        ("sys.exit('libnvinfer is broken')", BuilderDied, "ended with status 1: libnvinfer is broken"),
        ("print('a stray line')", BuilderDied, "ended with status 0: a stray line"),
        ("print(json.dumps({'type': 'Stepped', 'phase': 'x'}))", BuilderDied, "ended with status 0"),
        ("print(json.dumps({'type': 'Refused', 'kind': 'GraphNotParsed', 'text': 'no'}))", GraphNotParsed, "no"),
        (
            "print(json.dumps({'type': 'Built', 'layers': 1, 'plan_bytes': 1, 'seconds': 1, 'warnings': {}}), flush=True); os.abort()",
            BuilderDied,
            "died of SIGABRT",
        ),
    ],
)
def test_the_end_of_the_builder_is_told_by_name(monkeypatch, packed, script, kind, said):
    monkeypatch.setattr(builder, "COMMAND", (sys.executable, "-c", f"import json, os, signal, sys; {script}"))
    with pytest.raises(kind, match=said):
        build_apart(request(packed))


def test_the_builder_ends_when_we_are_ended(monkeypatch, packed, tmp_path):
    script = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
    monkeypatch.setattr(builder, "COMMAND", (sys.executable, "-c", script))
    seen: list[int] = []

    def interrupted(stream):
        for line in stream:
            seen.append(int(line))
            raise KeyboardInterrupt
        yield ""

    with pytest.raises(KeyboardInterrupt):
        build_apart(request(packed), interrupted)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], signal.SIGCONT)


def test_without_tensorrt_the_command_is_refused(packed, capsys, monkeypatch):
    monkeypatch.setattr(trt, "MODULES", ("no_such_tensorrt",))
    assert main(["export", "engine", str(packed), "--check-only"]) == 1
    assert "TensorRT is not installed; on a Jetson it comes with JetPack" in capsys.readouterr().err
