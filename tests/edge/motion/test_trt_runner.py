"""The TensorRT backend on a fake TensorRT: the same numbers as on the CPU, the state on the device, and a sentence for every refusal."""

from __future__ import annotations

import gc
import importlib
import re
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from fake_tensorrt import Fake, driver
from tiny_network import card_json, step_graph

import edge.caches as caches
import edge.gpu as gpu
import edge.gpu_context as gpu_context
import edge.motion.ort as ort
import edge.motion.trt as trt
from edge.config import parse
from edge.motion import open_motion
from edge.motion.bundle import open_bundle
from edge.motion.card import parse_card
from edge.motion.engine import EngineCard, EngineMissing, EngineWrong
from edge.motion.network import ProbeNormalisation, candidates, open_network, probe_path
from edge.motion.source import MotionFailed, MotionUnavailable
from edge.motion.stepper import BundleMismatch, Stepper
from export.engine import make
from export.engine.build import build
from export.golden_frames import random_frames
from export.pack import add_variants, pack

CARD = parse_card(card_json(), "card.json")
GRAPH = step_graph().SerializeToString()
FRAMES = random_frames(CARD, 9, seed=4).astype(np.float32)


@pytest.fixture
def fake(monkeypatch):
    yield Fake().install(monkeypatch)
    gpu_context.primary.cache_clear()


@pytest.fixture
def without_graphs(fake, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """A bundle with variants that TensorRT runs."""
    path = tmp_path_factory.mktemp("bundle") / "tiny.zip"
    pack(CARD, {"fp32": GRAPH}, random_frames(CARD, 6), path)
    add_variants(open_bundle(path), {"fp16": GRAPH, "int8-fp16": GRAPH}, {}, path)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(caches, "CACHES", [tmp_path / "never", tmp_path / "cache"])
    return tmp_path / "cache"


@pytest.fixture
def made(fake, packed, cache, monkeypatch):
    """Builds the engine of a variant of the bundle into the cache, as `sonosweep export engine` does."""
    monkeypatch.setattr(make, "build_apart", lambda request, shown: build(fake.tensorrt, request, lambda message: None))

    def engine(variant: str = "int8-fp16") -> EngineCard:
        wishes = make.Wishes(make.cache_folder(), lambda variant: iter)
        return make.make_engine(open_bundle(packed), variant, trt.machine(), wishes)

    return engine


@pytest.mark.parametrize("start_runs", [4, 1])  # after one the ring still holds what the start put there
def test_a_stepper_on_the_device_says_what_the_one_on_the_cpu_says_state_and_all(fake, start_runs):
    card = parse_card(card_json(start_runs=start_runs), "card.json")
    ours, theirs = trt.Engine(card, GRAPH).stepper(whole=True), Stepper(card, ort.Runner(GRAPH))
    for sweep in (FRAMES, FRAMES[::-1]):  # the second forgets the first
        for stepper in (ours, theirs):
            stepper.start(sweep[0])
        for image in sweep[1:]:
            found, expected = ours.step(image), theirs.step(image)
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                assert np.allclose(found[name], value, rtol=0, atol=1e-6), name


def test_without_the_proof_only_the_answer_comes_back_and_only_the_image_goes(fake):
    stepper = trt.Engine(CARD, GRAPH).stepper()
    stepper.start(FRAMES[0])
    fake.traffic.clear()
    assert stepper.step(FRAMES[1]).keys() == {"motion", "log_variance"}
    assert fake.traffic == {"to device": FRAMES[1].nbytes, "from device": 2 * gpu_context.ALIGNMENT}


def test_answers_belong_to_the_caller(fake):
    stepper = trt.Engine(CARD, GRAPH).stepper()
    stepper.start(FRAMES[0])
    first = stepper.step(FRAMES[1])["motion"]
    before = first.copy()
    stepper.step(FRAMES[5])
    assert np.array_equal(first, before)


def test_a_probes_normalisation_reaches_the_engine(fake):
    values, engine = {"scale": (0.02,)}, trt.Engine(CARD, GRAPH)
    ours, theirs = engine.stepper(values, True), Stepper(CARD, ort.Runner(GRAPH), values)
    assert np.allclose(ours.step(FRAMES[0])["new_previous"], theirs.step(FRAMES[0])["new_previous"], rtol=1e-6)
    assert not np.allclose(engine.stepper(whole=True).step(FRAMES[0])["new_previous"], theirs.step(FRAMES[0])["new_previous"])


def test_the_interval_reaches_the_engine(fake):
    """A graph that answers with what it was told."""
    import onnx
    from onnx import TensorProto, helper

    card = parse_card(card_json(interval={"input": "interval"}), "card.json")
    model = onnx.load_model_from_string(GRAPH)
    model.graph.input.append(helper.make_tensor_value_info("interval", TensorProto.FLOAT, [1, 1]))
    for node in model.graph.node:
        if node.output[0] == "log_variance":
            node.CopyFrom(helper.make_node("Add", ["spread", "interval"], ["log_variance"]))
    stepper = trt.Engine(card, model.SerializeToString()).stepper()
    stepper.start(FRAMES[0])
    assert [float(stepper.step(FRAMES[1], interval)["log_variance"][0, 0]) for interval in (2.0, 1.0)] == [-2, -3]


def test_what_a_stepper_holds_is_given_back(fake):
    engine = trt.Engine(CARD, GRAPH)
    steppers = [engine.stepper(), engine.stepper(whole=True)]
    steppers[0].start(FRAMES[0])
    assert fake.allocated > 0
    del steppers
    gc.collect()
    assert (fake.allocated, fake.depth) == (0, 0)


@pytest.mark.parametrize(
    ("refused", "kind", "said"),
    [
        ("create_execution_context", MotionUnavailable, "no execution context"),
        ("set_tensor_address", MotionUnavailable, "takes no address for"),
        ("mem_alloc", MotionUnavailable, "the GPU's memory is full"),
        ("Event", MotionUnavailable, "the GPU failed"),
        ("execute_async_v3", MotionUnavailable, "refuses a step"),
    ],
)
def test_an_engine_that_cannot_be_set_up_is_refused(fake, refused, kind, said):
    engine = trt.Engine(CARD, GRAPH)
    fake.refuse.add(refused)
    with pytest.raises(kind, match=said):
        engine.stepper()
    assert fake.depth == 0


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ("cuGraphLaunch", "the GPU refuses the step: cuGraphLaunch failed"),
        ("to device", "the GPU failed"),
        ("synchronize", "the GPU failed"),
    ],
)
def test_a_step_that_is_refused_ends_the_sweep_by_name(fake, refused, said):
    stepper = trt.Engine(CARD, GRAPH).stepper()
    stepper.start(FRAMES[0])
    fake.refuse.add(refused)
    with pytest.raises(MotionFailed, match=said):
        stepper.step(FRAMES[1])
    del stepper
    gc.collect()  # while the GPU still fails: nothing is raised where nobody could catch it
    assert fake.depth == 0


@pytest.mark.parametrize(
    ("refused", "said"), [("execute_async_v3", "TensorRT refuses the step"), ("set_tensor_address", "takes no address for")]
)
def test_a_step_without_a_graph_is_refused_by_name_too(fake, without_graphs, refused, said):
    stepper = trt.Engine(CARD, GRAPH).stepper()
    stepper.start(FRAMES[0])
    fake.refuse.add(refused)
    with pytest.raises(MotionFailed, match=said):
        stepper.step(FRAMES[1])


def test_both_turns_are_recorded_once_and_replayed(fake):
    stepper = trt.Engine(CARD, GRAPH).stepper()
    assert (stepper.note, fake.calls["enqueue"]) == ("", 4), "each turn runs once before it is recorded"
    stepper.start(FRAMES[0])
    for image in FRAMES[1:]:
        stepper.step(image)
    assert fake.calls == {"enqueue": 4, "graph": CARD.start_runs + len(FRAMES) - 1}
    del stepper
    gc.collect()
    assert fake.calls["graph given back"] == 2


def test_without_cuda_bindings_steps_are_asked_for_one_by_one_and_the_backend_says_so(made, packed, fake, without_graphs):
    made()
    fake.calls.clear()
    source = open_network(packed)
    said = "trt int8-fp16 (no CUDA graph: cuda-bindings is not installed; run: pip install 'sonosweep[graphs]')"
    assert source.backend == said and fake.calls["graph"] == 0 < fake.calls["enqueue"]
    ours, theirs = trt.Engine(CARD, GRAPH).stepper(whole=True), Stepper(CARD, ort.Runner(GRAPH))
    for stepper in (ours, theirs):
        stepper.start(FRAMES[0])
    for image in FRAMES[1:]:
        found, expected = ours.step(image), theirs.step(image)
        assert all(np.allclose(found[name], value, rtol=0, atol=1e-6) for name, value in expected.items())


@pytest.mark.parametrize(
    ("refused", "said"),
    [("recording", r"a step cannot be recorded"), ("cuGraphInstantiate", r"cuGraphInstantiate failed \(CUDA error 801\)")],
)
def test_a_refused_recording_is_no_refused_network(fake, refused, said):
    fake.refuse.add(refused)
    stepper, theirs = trt.Engine(CARD, GRAPH).stepper(), Stepper(CARD, ort.Runner(GRAPH))
    assert stepper.note.startswith("no CUDA graph: ") and re.search(said, stepper.note)
    for one in (stepper, theirs):
        one.start(FRAMES[0])
    assert np.allclose(stepper.step(FRAMES[1])["motion"], theirs.step(FRAMES[1])["motion"], rtol=0, atol=1e-6)
    assert fake.calls["graph"] == 0


def test_a_plan_that_tensorrt_does_not_read_is_refused_in_its_own_words(fake):
    with pytest.raises(trt.EngineUnreadable, match=r"10\.3\.0\.30 does not read its engine: magicTag mismatch; build it again"):
        trt.Engine(CARD, b"of another TensorRT")


def test_an_engine_with_other_tensors_than_the_card_is_refused(fake):
    other = parse_card(card_json(state=[{"input": "previous", "output": "new_previous", "shape": [1, 1, 8, 8]}]), "card.json")
    with pytest.raises(BundleMismatch, match=r"(ring|count) is missing in the card and float32"):
        trt.Engine(other, GRAPH)


def test_without_a_driver_tensorrt_is_never_touched(fake):
    """A Runtime without a driver ends the process; the fake one fails the test."""
    fake.driver = None
    with pytest.raises(MotionUnavailable, match=r"trt: libcuda\.so\.1 is not installed; install the NVIDIA driver"):
        trt.Engine(CARD, GRAPH)
    with pytest.raises(gpu.NoDevice, match="install the NVIDIA driver"):
        trt.machine()


def test_each_thing_that_may_be_missing_is_named(fake, monkeypatch):
    assert trt.missing() == ""
    for library, said in {"error 999": driver(status=999), "no CUDA device": driver(devices=0)}.items():
        fake.driver = said
        assert library in trt.missing()
    fake.driver = driver()
    real = importlib.util.find_spec
    without = {"pycuda": "pycuda is not installed; run: pip install", "tensorrt": "TensorRT is not installed; on a Jetson"}
    for gone, said in without.items():
        lost = {gone, "tensorrt_rtx"} if gone == "tensorrt" else {gone}
        for module in (importlib.util, trt):
            monkeypatch.setattr(module, "find_spec", lambda name, lost=lost: None if name in lost else real(name))
        assert said in trt.missing()


def test_a_pycuda_of_another_machine_is_named(fake, monkeypatch):
    monkeypatch.delitem(sys.modules, "pycuda.driver")
    assert "pycuda does not fit this driver" in trt.missing()


def test_without_any_tensorrt_its_import_is_refused(monkeypatch):
    monkeypatch.setattr(trt, "MODULES", ("no_such_tensorrt",))
    with pytest.raises(trt.TensorRtMissing, match="TensorRT is not installed; on a Jetson it comes with JetPack"):
        trt.library()


def test_a_tensorrt_whose_libraries_are_missing_is_named_and_the_next_is_taken(monkeypatch, tmp_path, fake):
    (tmp_path / "broken_tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trt, "MODULES", ("broken_tensorrt", "tensorrt"))
    assert trt.library() is fake.tensorrt
    monkeypatch.setattr(trt, "MODULES", ("broken_tensorrt",))
    with pytest.raises(trt.TensorRtMissing, match=r"broken_tensorrt cannot be imported \(libnvinfer\.so\.10"):
        trt.library()


def test_the_machine_is_told_as_engines_depend_on_it(fake):
    told = trt.machine()
    assert (told.tensorrt, told.tensorrt_version, told.gpu) == ("tensorrt", "10.3.0.30", "Orin")
    assert (told.compute_capability, told.sm_count, told.cuda_driver) == ("8.7", 8, 12060)


def test_the_cuda_runtime_is_told_by_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "RUNTIMES", (tmp_path / "none", tmp_path))
    assert gpu.cuda_runtime() == ""
    (tmp_path / "lib64").mkdir()
    for name, told in {"libcudart.so": "", "libcudart.so.12": "12", "libcudart.so.12.6.68": "12.6.68"}.items():
        (tmp_path / "lib64" / name).write_text("")
        assert gpu.cuda_runtime() == told


def test_the_versions_of_driver_and_system_are_read_from_their_files(tmp_path, monkeypatch):
    texts = {
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build": ("DRIVER", "540.4.0"),
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19": ("DRIVER", "535.104.05"),
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic": ("L4T", "36.4.3"),
    }
    for text, (which, expected) in texts.items():
        (tmp_path / "file").write_text(text)
        assert gpu._read(tmp_path / "file", getattr(gpu, which)[1]) == expected
    assert gpu._read(tmp_path / "none", gpu.L4T[1]) == ""


def test_auto_takes_the_engine_and_says_so(made, packed, capsys):
    made()
    assert open_network(packed).backend == "trt int8-fp16"
    assert "not used" not in capsys.readouterr().err


def test_auto_goes_to_fp16_and_then_to_the_cpu_and_says_why(made, packed, capsys):
    assert open_network(packed).backend == "ort fp32"
    said = capsys.readouterr().err
    assert "trt int8-fp16 is not used" in said and "trt fp16 is not used" in said and "sonosweep export engine" in said
    made("fp16")
    assert open_network(packed).backend == "trt fp16"
    said = capsys.readouterr().err
    assert "trt int8-fp16 is not used" in said and "trt fp16 is not used" not in said


def test_what_is_named_is_never_replaced(made, packed):
    made("fp16")
    with pytest.raises(EngineMissing, match="int8-fp16: no engine was built on this machine"):
        open_network(packed, "trt", variant="int8-fp16")
    with pytest.raises(EngineMissing):
        open_network(packed, variant="int8-fp16")
    assert open_network(packed, variant="fp32").backend == "ort fp32"
    assert open_network(packed, "ort").backend == "ort fp32"
    with pytest.raises(MotionUnavailable, match=r"trt: runs .*asked for is fp32"):
        open_network(packed, "trt", variant="fp32")


def test_the_device_is_configured_with_backend_and_variant(made, packed):
    made("fp16")
    text = f'[motion]\nmodel = "{packed}"\nbackend = "trt"\nvariant = "%s"'
    assert open_motion(parse(text % "fp16", "edge.toml").motion).backend == "trt fp16"
    with pytest.raises(EngineMissing):
        open_motion(parse(text % "int8-fp16", "edge.toml").motion)


def test_without_a_driver_auto_is_quiet_and_trt_is_refused(fake, packed, capsys):
    fake.driver = None
    assert candidates(open_bundle(packed).card) == [("ort", "fp32")]
    assert open_network(packed).backend == "ort fp32" and capsys.readouterr().err == ""
    with pytest.raises(MotionUnavailable, match=r"trt: libcuda\.so\.1 is not installed"):
        open_network(packed, "trt")


def test_an_engine_that_computes_something_else_is_caught_when_it_is_opened(made, packed, cache, fake, capsys):
    """As if the card's bytes had been right and the driver had changed under them."""
    made()
    real = fake.tensorrt.Runtime.deserialize_cuda_engine
    other = step_graph(gain=1.5).SerializeToString()
    fake.tensorrt.Runtime.deserialize_cuda_engine = lambda self, plan: real(self, other)
    with pytest.raises(BundleMismatch, match=r"golden output .* differs by"):
        open_network(packed, "trt", variant="int8-fp16")
    assert open_network(packed).backend == "ort fp32"
    assert "trt int8-fp16 is not used" in capsys.readouterr().err


def test_a_changed_plan_is_refused_before_tensorrt_sees_it(made, packed, cache, fake):
    made()
    plan = next(cache.glob("*.plan"))
    content = bytearray(plan.read_bytes())
    content[100] ^= 1
    plan.write_bytes(content)
    fake.tensorrt.Runtime = None
    with pytest.raises(EngineWrong, match="is not the engine that was proved here"):
        open_network(packed, "trt", variant="int8-fp16")


def test_a_probes_own_values_are_proved_on_the_device_too(made, packed):
    made()
    probe = ProbeNormalisation(bundle=open_bundle(packed).identity, probe="L14", values={"scale": (0.02,)}, golden_motion=((9.0,) * 6,) * 5)
    probe_path(packed).write_bytes(msgspec.json.encode(probe))
    try:
        with pytest.raises(BundleMismatch, match="not the one of its fit"):
            open_network(packed, "trt", variant="int8-fp16")
        probe_path(packed).write_bytes(msgspec.json.encode(msgspec.structs.replace(probe, golden_motion=())))
        assert open_network(packed, "trt").name == "network: tiny for L14"
    finally:
        probe_path(packed).unlink()
