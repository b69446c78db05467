"""Building engines: TensorRT-RTX parses and builds on a CPU, a builder that dies is told by name, and nothing is kept unproved."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from fake_tensorrt import Fake
from tiny_network import card_json, step_graph

import edge.caches as caches
import edge.gpu as gpu
import edge.motion.trt as trt
from edge.app import main
from edge.motion.bundle import find_bundle, open_bundle, shipped_bundles
from edge.motion.card import parse_card
from edge.motion.engine import EngineCard, EngineNotKept, find_engine
from export.engine import builder, make, prove
from export.engine.build import (
    BuilderDied,
    BuilderRefused,
    BuildOutOfMemory,
    EngineNotBuilt,
    GraphNotParsed,
    Request,
    WeakTypingUnavailable,
    build,
)
from export.engine.builder import build_apart
from export.engine.layers import report_layers
from export.engine.prove import EngineUnproved
from export.golden_frames import random_frames
from export.pack import add_variants, pack

CARD = parse_card(card_json(), "card.json")
GRAPH = step_graph().SerializeToString()
BOTH = ("int8-fp16", "fp16")


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny"
    pack(CARD, {"fp32": GRAPH}, random_frames(CARD, 6), path.with_suffix(".zip"))
    add_variants(open_bundle(path.with_suffix(".zip")), {"fp16": GRAPH, "int8-fp16": GRAPH}, {}, path)
    return path


def request(bundle: Path, **changes) -> Request:
    fields = {"variant": "fp16", "weakly_typed": False, "workspace_mib": 64, "optimisation_level": 3, **changes}
    return Request(bundle=str(bundle), **fields)


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


# The whole way, on a fake TensorRT and a fake GPU.


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A machine where engines can be built, run and kept."""
    made = Fake().install(monkeypatch)
    monkeypatch.setattr(caches, "CACHES", [tmp_path / "never", tmp_path / "cache"])
    monkeypatch.setattr(make, "build_apart", lambda request, shown: build(made.tensorrt, request, lambda message: None))
    yield made
    gpu.primary.cache_clear()


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def export(bundle: Path, *words: str) -> int:
    return main(["export", "engine", str(bundle), *words, "--json"])


def test_an_engine_is_proved_kept_and_described(fake, packed, tmp_path, capsys):
    assert export(packed, "--variant", "fp16", "--workspace-mib", "128") == 0
    card = msgspec.json.decode(capsys.readouterr().out, type=EngineCard)
    depends, bundle = card.depends, open_bundle(packed)
    assert (depends.variant, depends.precision, depends.builder_flags, depends.workspace_mib) == ("fp16", "strongly typed", (), 128)
    assert (depends.bundle, depends.graph) == (bundle.identity, bundle.card.files["fp16.onnx"])
    assert depends.machine == trt.machine()
    assert max(card.golden.values()) < 1e-4 < card.control and card.golden.keys() == bundle.card.signature()[1].keys()
    assert card.step_ms.keys() == {"fp16"} and card.layers.reformats == 1
    name = depends.key[:16]
    assert kept(tmp_path / "cache") == sorted([f"{name}.json", f"{name}.plan", "timing-10.3.0.30-Orin.cache"])
    assert (tmp_path / "cache" / f"{name}.plan").read_bytes() == GRAPH, "the plan alone, so that trtexec reads it"
    assert find_engine(bundle, "fp16", trt.machine()).card == card


def test_strong_typing_is_asked_for_and_weak_typing_only_where_it_is_named(fake, packed, capsys):
    assert export(packed, "--variant", "int8-fp16") == 0
    assert (fake.config.network_flags, fake.config.flags) == (2, [])
    capsys.readouterr()
    assert export(packed, "--variant", "int8-fp16", "--weakly-typed") == 0
    assert (fake.config.network_flags, fake.config.flags) == (0, ["fp16 flag", "int8 flag"])
    card = msgspec.json.decode(capsys.readouterr().out, type=EngineCard)
    assert (card.depends.precision, card.depends.builder_flags) == ("weakly typed fp16+int8", ("FP16", "INT8"))


def test_a_variant_without_weak_flags_is_refused(fake, packed):
    with pytest.raises(WeakTypingUnavailable, match="fp32: cannot be built weakly typed"):
        build(fake.tensorrt, request(packed, variant="fp32", weakly_typed=True), lambda message: None)


def test_timings_are_kept_for_the_next_build_and_those_of_another_machine_are_begun_anew(fake, packed, tmp_path, capsys):
    timings = tmp_path / "cache" / "timing-10.3.0.30-Orin.cache"
    export(packed, "--variant", "fp16")
    export(packed, "--variant", "int8-fp16")
    assert timings.read_bytes() == b"timed timed "
    fake.refuse.add("set_timing_cache")
    capsys.readouterr()
    export(packed, "--variant", "fp16")
    assert timings.read_bytes() == b"timed "
    warnings = msgspec.json.decode(capsys.readouterr().out, type=EngineCard).warnings
    assert warnings == {f"{timings}: TensorRT does not take these timings; it times anew": 1}


def test_the_power_mode_of_a_jetson_is_in_the_card(fake, packed, tmp_path, capsys, monkeypatch):
    script = tmp_path / "bin" / "nvpmodel"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho 'NV Power Mode: 25W'; echo 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    export(packed, "--variant", "fp16")
    assert msgspec.json.decode(capsys.readouterr().out, type=EngineCard).power_mode == "25W"


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ("build: Error Code 1: Cuda Runtime (out of memory)", BuildOutOfMemory, "memory ran out .*--workspace-mib"),
        ("build: OutOfMemory (Requested size was 1024 bytes.)", BuildOutOfMemory, "memory ran out"),
        ("build: could not find any implementation for node conv", BuilderRefused, "could not find any implementation"),
    ],
)
def test_what_tensorrt_says_of_a_failed_build_is_told(fake, packed, words, kind, said):
    fake.refuse.add(words)
    with pytest.raises(kind, match=said):
        build(fake.tensorrt, request(packed), lambda message: None)


def test_an_engine_that_says_something_else_is_not_kept(fake, packed, tmp_path, capsys, monkeypatch):
    other = step_graph(gain=1.5).SerializeToString()
    monkeypatch.setattr("edge.motion.bundle.Bundle.graph", lambda self, variant: other)
    assert export(packed, "--variant", "fp16") == 1
    assert "an engine was built and is not kept" in capsys.readouterr().err
    assert kept(tmp_path / "cache") == ["timing-10.3.0.30-Orin.cache"]


def test_an_engine_that_is_blind_is_not_kept(fake, packed):
    """A tolerance that other images would pass proves nothing."""
    bundle = open_bundle(packed)
    graphs = dict(bundle.card.graphs)
    graphs["fp16"] = msgspec.structs.replace(graphs["fp16"], tolerance={name: 1e6 for name in graphs["fp16"].tolerance})
    loose = msgspec.structs.replace(bundle.card, graphs=graphs)
    with pytest.raises(EngineUnproved, match="does not look at what it is given"):
        prove.prove_engine(type(bundle)(bundle.path, loose, bundle.identity, bundle.files), "fp16", GRAPH)


def test_an_engine_that_refuses_a_step_is_not_kept(fake, packed, tmp_path):
    fake.refuse.add("execute_async_v3")
    with pytest.raises(EngineUnproved, match="TensorRT refuses a step"):
        prove.prove_engine(open_bundle(packed), "fp16", GRAPH)


def timed(monkeypatch, **step_ms: float) -> None:
    """Engines that take so long for a step, in the order in which they are tried."""
    times = iter(step_ms.values())
    monkeypatch.setattr(prove, "_step_ms", lambda engine, frames: next(times))


def test_int8_is_kept_where_it_is_as_fast(fake, packed, capsys, monkeypatch):
    timed(monkeypatch, int8=1.0, fp16=1.0)
    assert export(packed) == 0
    said = capsys.readouterr()
    card = msgspec.json.decode(said.out, type=EngineCard)
    assert (card.depends.variant, card.step_ms) == ("int8-fp16", {"int8-fp16": 1.0, "fp16": 1.0})
    assert "fp16 is passed over: a step takes 1 ms" in said.err


def test_fp16_is_kept_where_int8_is_slower_and_the_runtime_is_told_so(fake, packed, tmp_path, capsys, monkeypatch):
    assert export(packed, "--variant", "int8-fp16") == 0
    capsys.readouterr()
    timed(monkeypatch, int8=1.5, fp16=1.0)
    assert export(packed) == 0
    said = capsys.readouterr()
    card = msgspec.json.decode(said.out, type=EngineCard)
    assert (card.depends.variant, card.step_ms) == ("fp16", {"int8-fp16": 1.5, "fp16": 1.0})
    assert "int8-fp16 is passed over: a step takes 1.5 ms, and 1 ms with fp16" in said.err
    assert "is removed: an engine of int8-fp16 from before" in said.err
    assert len([name for name in kept(tmp_path / "cache") if name.endswith(".plan")]) == 1
    with pytest.raises(EngineNotKept, match=r"a step takes 1\.5 ms, and 1 ms with fp16"):
        find_engine(open_bundle(packed), "int8-fp16", trt.machine())


def test_auto_goes_to_fp16_where_int8_fails_and_says_so(fake, packed, capsys, monkeypatch):
    real = make.build_apart

    def fails(request, shown):
        if request.variant == "int8-fp16":
            raise BuilderDied("int8-fp16: the builder died of SIGSEGV")
        return real(request, shown)

    monkeypatch.setattr(make, "build_apart", fails)
    assert export(packed) == 0
    said = capsys.readouterr()
    card = msgspec.json.decode(said.out, type=EngineCard)
    assert card.depends.variant == "fp16" and "SIGSEGV" in card.passed_over["int8-fp16"]
    assert "int8-fp16 is passed over: int8-fp16: the builder died of SIGSEGV" in said.err


def test_a_named_variant_is_never_replaced(fake, packed, tmp_path, capsys):
    fake.refuse.add("build: no")
    assert export(packed, "--variant", "int8-fp16") == 1
    assert "fp16 is passed over" not in capsys.readouterr().err
    assert export(packed) == 1
    assert "no engine can be had of this bundle here: int8-fp16: " in capsys.readouterr().err
    assert not [name for name in kept(tmp_path / "cache") if name.endswith((".plan", ".json"))]


@pytest.mark.parametrize(("words", "said"), [(["--variant", "fp32"], "fp32 is none of"), (["--variant", "x"], "x is none of")])
def test_a_variant_that_is_none_is_refused(fake, packed, words, said, capsys):
    assert export(packed, *words) == 1
    assert said in capsys.readouterr().err


def test_without_a_gpu_there_is_check_only(fake, packed, capsys):
    fake.driver = None
    assert export(packed) == 1
    assert "libcuda.so.1 is not installed; install the NVIDIA driver; without a GPU there is --check-only" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused(fake, packed, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert export(packed, "--cache", str(tmp_path / "file")) == 1
    assert "make it writable, or name another folder with --cache" in capsys.readouterr().err


def test_another_folder_is_used_and_said_not_to_be_looked_at(fake, packed, tmp_path, capsys):
    assert export(packed, "--variant", "fp16", "--cache", str(tmp_path / "image")) == 0
    assert "is not looked at by `sonosweep run`" in capsys.readouterr().err
    assert len(kept(tmp_path / "image")) == 3


def test_the_answer_can_be_read(fake, packed, capsys):
    assert main(["export", "engine", str(packed), "--variant", "fp16"]) == 0
    said = capsys.readouterr().out
    assert "control: other images" in said and "fp16, strongly typed" in said and "1 of 1 layers reformat" in said


# The layer report, from what the inspectors of TensorRT 10 and 11 write.


def layer(kind: str, before: dict[str, str], weights: str = "Int8", count: int = 9 * 16 * 32) -> dict[str, object]:
    sizes = {"Dimensions": [1, 32, 10, 20]}
    convolution = {"ParameterType": "Convolution", "Weights": {"Type": weights, "Count": count}} if "Conv" in kind else {}
    return {"Name": kind, "LayerType": kind, "Inputs": [sizes | before], "Outputs": [sizes | before], **convolution}


@pytest.mark.parametrize(
    ("schema", "int8", "half", "ports"),
    [
        (
            "10.x",
            {"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"},
            {"Format/Datatype": "Two wide channel vectorized row major FP16 format"},
            {"Bindings": ["frame", "motion"]},
        ),
        (
            "11.x",
            {"Format": "Thirty-two wide channel vectorized row major", "DataType": "Int8"},
            {"Format": "Row major linear", "DataType": "Half"},
            {"I/O Tensors": [{"Name": "frame", "IOMode": "Input", "DataType": "Float"}]},
        ),
    ],
)
def test_layers_are_counted_in_both_schemas(schema, int8, half, ports):
    layers = [
        layer("CaskConvolution", int8),
        layer("CaskConvolution", int8, weights="Half"),
        layer("CaskConvolution", half, weights="Half", count=3 * 16 * 32),
        layer("Reformat", half),
        layer("Reformat", int8),
        layer("Myelin", half),
    ]
    report = report_layers(json.dumps({"Layers": layers, **ports}))
    one = 9 * 16 * 32 * 10 * 20
    assert (report.schema, report.layers, report.reformats) == (schema, 6, 2)
    assert (report.convolutions, report.convolutions_int8) == (3, 1)
    assert (report.work, report.work_int8) == (2 * one + one // 3, one)
    assert report.kinds == {"CaskConvolution": 3, "Myelin": 1, "Reformat": 2}


def test_a_report_of_names_only_or_of_nonsense_says_so():
    assert report_layers('{"Layers": ["conv1 + relu"], "Bindings": []}').kinds == {"not told": 1}
    assert report_layers("no JSON").schema == "not readable"
