"""INT8 where TensorRT wants it and nowhere else, FP16 where it is safe, and a bundle that says what either costs."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import TensorProto, helper, numpy_helper, shape_inference  # noqa: E402

import edge.motion.ort as ort  # noqa: E402
from calibration.representative import SETTINGS, representative, shown_with  # noqa: E402
from edge.app import main  # noqa: E402
from edge.motion.bundle import find_bundle, open_bundle  # noqa: E402
from edge.motion.stepper import Stepper  # noqa: E402
from export.half import before_sensitive, to_fp16  # noqa: E402
from export.pack import ProofFailed, add_variants, runner_of  # noqa: E402
from export.quantization import NothingToQuantize, convolutions, to_int8  # noqa: E402

CHANNELS = 4


def residual_graph() -> bytes:
    """Three residual blocks: an identity shortcut, a 1 x 1 projection, a max-pooled one; and an addition that is no shortcut."""
    random = np.random.default_rng(0)
    constants, nodes = {}, []

    def add(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def convolution(value, output, size, strides=1):
        weight = constants[f"{output}.weight"] = random.normal(0, 0.3, (CHANNELS, CHANNELS, size, size)).astype(np.float32)
        shape = {"kernel_shape": weight.shape[2:], "pads": [size // 2] * 4, "strides": [strides] * 2}
        return add("Conv", [value, f"{output}.weight"], output, **shape)

    def block(value, name, shortcut, strides=1):
        inner = add("Relu", [convolution(value, f"{name}.first", 3, strides)], f"{name}.inner")
        return add("Relu", [add("Add", [convolution(inner, f"{name}.second", 3), shortcut], f"{name}.sum")], name)

    value = add("Relu", ["frame"], "start")
    value = block(value, "identity", value)
    value = block(value, "projected", convolution(value, "projected.shortcut", 1, 2), 2)
    value = block(value, "pooled", add("MaxPool", [value], "pooled.shortcut", kernel_shape=[2, 2], strides=[2, 2]), 2)
    constants["one"] = np.array(1, np.float32)
    add("Add", [add("ReduceMean", [value], "mean", keepdims=1), "one"], "out")
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    shapes = {"frame": [1, CHANNELS, 16, 16], "out": [1, 1, 1, 1]}
    ports = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = helper.make_graph(nodes, "residual", [ports["frame"]], [ports["out"]], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9).SerializeToString()


def samples(count=4):
    random = np.random.default_rng(1)
    return [{"frame": random.normal(size=(1, CHANNELS, 16, 16)).astype(np.float32)} for _ in range(count)]


def parts(graph):
    """The nodes, who made what, and the constants."""
    model = onnx.load_model_from_string(graph)
    made = {name: node for node in model.graph.node for name in node.output}
    return model, made, {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def op_before(made, name):
    return made[name].op_type if name in made else ""


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_convolutions_are_int8_symmetric_and_per_channel_and_shortcuts_have_one_pair(method, capsys):
    quantized = to_int8(residual_graph(), samples(), method=method)
    assert capsys.readouterr().out == "", "stdout is for the answer"
    model, made, constants = parts(quantized)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 19)] and model.ir_version == 9
    for node in model.graph.node:
        before = [op_before(made, name) for name in node.input]
        if node.op_type == "Conv":
            assert before[:2] == ["DequantizeLinear"] * 2
            assert constants[made[node.input[1]].input[1]].shape == (CHANNELS,), "a scale for each output channel"
        elif node.op_type == "Add" and "Conv" in before:
            assert sorted(before) == ["Conv", "DequantizeLinear"], node.name
        elif node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            assert "DequantizeLinear" not in before, f"{node.name} computes with rounded values"
        if node.op_type == "QuantizeLinear":
            assert not constants[node.input[2]].any() and constants[node.input[2]].dtype == np.int8
    sums = [node for node in model.graph.node if node.op_type == "Add" and "Conv" in [op_before(made, name) for name in node.input]]
    assert len(sums) == 3
    exact, found = (ort.Runner(graph).infer(samples(1)[0])["out"] for graph in (residual_graph(), quantized))
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_only_the_chosen_layers_are_quantized():
    names = convolutions(residual_graph())
    assert len(names) == 7
    model, made, _ = parts(to_int8(residual_graph(), samples(), only=names[:1]))
    rounded = [node.name for node in model.graph.node if node.op_type == "Conv" and op_before(made, node.input[0]) == "DequantizeLinear"]
    assert rounded == names[:1]


def test_nothing_to_quantize_is_said():
    with pytest.raises(NothingToQuantize, match="sweeps"):
        to_int8(residual_graph(), [])
    with pytest.raises(NothingToQuantize, match="convolution"):
        to_int8(residual_graph(), samples(), only=[])


@pytest.mark.parametrize("name", ["small", "moglo"])
def test_fp16_is_typed_throughout_and_spares_what_it_cannot_hold(name):
    bundle = open_bundle(find_bundle(name))
    graph = bundle.graph("fp32")
    model = shape_inference.infer_shapes(onnx.load_model_from_string(to_fp16(graph)), strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    assert {types[port.name] for port in (*model.graph.input, *model.graph.output)} == {TensorProto.FLOAT}
    spared = before_sensitive(model.graph)
    half = {TensorProto.FLOAT16}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            assert {types[node.output[0]]} == (half if node.name not in spared else {TensorProto.FLOAT}), node.name
        if node.op_type in ("Sqrt", "Log", "Reciprocal", "Softmax"):
            assert types[node.output[0]] == TensorProto.FLOAT, node.name
    assert len(to_fp16(graph)) < 0.65 * len(graph)


def test_calibration_sees_states_of_sweeps_under_all_settings():
    bundle = open_bundle(find_bundle("small"))
    random = np.random.default_rng(0)
    size = (bundle.card.image.height, bundle.card.image.width)
    sweeps = [random.integers(1, 255, (5, *size), np.uint8) for _ in range(2)]
    runner = ort.Runner(bundle.graph("fp32"))
    found = list(representative(bundle.card, runner, sweeps, 6))
    assert len(found) == 6
    stepper = Stepper(bundle.card, runner)
    stepper.start(sweeps[0][0].astype(np.float32))
    for state, value in stepper.state.items():
        assert (found[0][state] == value).all(), "the first step's state is the one after the start"
    assert found[1]["hidden"].any() and (found[-1]["frame"] == shown_with(sweeps[1][-1], *SETTINGS[1])).all()
    assert shown_with(np.zeros((1, 2), np.uint8), 25, 1.0).sum() == 0, "no image stays no image"
    assert len(list(representative(bundle.card, runner, sweeps, 100))) == 8


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweeps") / "sweep.igs.mha"
    assert main(["simulate", "-o", str(path), "--frames", "24", "--size", "128", "160", "--spacing-mm", "0.3"]) == 0
    return path


@pytest.fixture(scope="module")
def quantized(sweep, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "small.zip"
    options = ["--calibrate", str(sweep), "--steps", "8", "--method", "minmax", "--sensitivity", str(out.parent / "layers")]
    assert main(["export", "quantize", "small", *options, "-o", str(out), "--json"]) == 0
    return out


def test_a_quantized_bundle_holds_proved_variants_and_their_distance_from_fp32(quantized):
    card = open_bundle(quantized).card
    assert set(card.graphs) == {"fp32", "fp16", "int8", "int8-fp16"}
    for variant, graph in card.graphs.items():
        assert graph.tolerance.keys() == card.graphs["fp32"].tolerance.keys()
        if variant != "fp32":
            (parity,) = graph.parity
            assert parity.measured_on == "sweep.igs.mha (calibrated on them)" and parity.frames == 24
            assert 0 < parity.step_mm < parity.step_mm_largest < 0.1 and 0 < parity.step_deg < 0.1
            assert abs(parity.drift_points) < 5 and 0.8 < parity.lpe_ratio < 1.2
    assert card.graphs["fp16"].parity[0].step_mm < 0.3 * card.graphs["int8"].parity[0].step_mm
    layers = json.loads((quantized.parent / "layers" / "layers.json").read_text())
    assert "trunk.2" in [layer["name"] for layer in layers] and sum(layer["share_percent"] for layer in layers) == pytest.approx(100)
    assert (quantized.parent / "layers" / "layers.png").stat().st_size > 2000


def test_the_way_to_find_ranges_is_chosen_on_the_calibration_sweeps_and_never_on_those_that_judge(sweep, tmp_path, capsys):
    other = tmp_path / "other.igs.mha"
    assert main(["simulate", "-o", str(other), "--frames", "12", "--size", "128", "160", "--spacing-mm", "0.3", "--seed", "8"]) == 0
    answers = []
    for judge in (sweep, other):
        words = ["--calibrate", str(sweep), "--measure", str(judge), "--steps", "3", "--variant", "int8", "-o", str(tmp_path / "out.zip")]
        capsys.readouterr()
        assert main(["export", "quantize", "small", *words, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    by_method = answers[0]["step_mm_by_method"]
    assert by_method == pytest.approx(answers[1]["step_mm_by_method"]) and set(by_method) == {"minmax", "entropy", "percentile"}
    assert all(answer["method"] == min(by_method, key=by_method.get) and min(by_method.values()) > 0 for answer in answers)
    assert [answer["parity"]["int8"]["measured_on"] for answer in answers] == ["sweep.igs.mha", "other.igs.mha"]


def test_parity_tells_of_each_variant_on_each_sweep(quantized, sweep, capsys):
    assert main(["export", "parity", str(quantized), str(sweep), "--variant", "int8", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["variant"] for row in answer["rows"]] == ["int8"]
    kept = open_bundle(quantized).card.graphs["int8"].parity[0]
    assert answer["mean"]["int8"]["step_mm"] == pytest.approx(kept.step_mm, rel=0.2), "other processors round elsewhere"
    assert main(["export", "parity", "moglo", str(sweep), "--variant", "int4"]) != 0
    assert "sonosweep export quantize" in capsys.readouterr().err


def test_a_variant_that_is_something_else_is_not_packed(tmp_path):
    bundle = open_bundle(find_bundle("small"))
    model = onnx.load_model_from_string(bundle.graph("fp32"))
    for tensor in model.graph.initializer:
        if tensor.name == "module.head.bias":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 2, tensor.name))
    with pytest.raises(ProofFailed, match="golden motion"):
        add_variants(bundle, {"int8": model.SerializeToString()}, {}, tmp_path / "out.zip")
    with pytest.raises(ProofFailed, match="fp32"):
        add_variants(bundle, {"fp32": bundle.graph("fp32")}, {}, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_variant_computes_as_it_is_written(quantized):
    bundle = open_bundle(quantized)
    with zipfile.ZipFile(quantized) as archive:
        assert archive.read("int8-fp16.onnx") == bundle.graph("int8-fp16")
    frame = np.full((bundle.card.image.height, bundle.card.image.width), 90, np.float32)
    for variant in bundle.card.graphs:
        stepper = Stepper(bundle.card, runner_of(variant, bundle.graph(variant), 1))
        stepper.start(frame)
        assert np.isfinite(stepper.step(frame)["motion"]).all()
