"""Engines on a fake TensorRT and a fake GPU, the whole way: nothing is kept unproved, and no precision is replaced unsaid."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from engine_bundle import GRAPH, request
from fake_tensorrt import Fake
from tiny_network import step_graph

import edge.caches as caches
import edge.gpu_context as gpu_context
import edge.motion.trt as trt
from edge.app import main
from edge.motion.bundle import open_bundle
from edge.motion.engine import EngineCard, EngineNotKept, find_engine
from export.engine import make, prove
from export.engine.build import (
    BuilderDied,
    BuilderRefused,
    BuildOutOfMemory,
    WeakTypingUnavailable,
    build,
)
from export.engine.prove import EngineUnproved


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A machine where engines can be built, run and kept."""
    made = Fake().install(monkeypatch)
    monkeypatch.setattr(caches, "CACHES", [tmp_path / "never", tmp_path / "cache"])
    monkeypatch.setattr(make, "build_apart", lambda request, shown: build(made.tensorrt, request, lambda message: None))
    yield made
    gpu_context.primary.cache_clear()


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
