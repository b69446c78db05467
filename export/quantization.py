"""A step graph in INT8, as strongly typed TensorRT 10.3 to 11 wants it and as ONNX Runtime runs it too.

INT8 is explicit: Q/DQ pairs on the inputs of convolutions, symmetric, weights per channel. Correlation, attention, the recurrent cell
and the head stay as they are; so do biases, and outputs of convolutions, for else convolution, addition and ReLU do not fuse. A
residual's shortcut has one pair.
"""

from __future__ import annotations

import io
import logging
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

import edge.motion.ort as ort
from edge.errors import SonosweepError
from edge.motion.stepper import Tensors
from export.graph import HIGHEST_IR, check_graph

METHODS = {"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy, "percentile": CalibrationMethod.Percentile}
OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": ["Conv", "Add", "Relu", "MaxPool"],
}


class NothingToQuantize(SonosweepError):
    """A graph has no convolution left to quantize, or there are no steps to see its values in."""


def convolutions(graph: bytes) -> list[str]:
    """Names of the convolutions with learned weights, in the order in which they are computed."""
    model = onnx.load_model_from_string(graph)
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "Conv" and node.input[1] in constants]


def to_int8(graph: bytes, samples: Iterable[Tensors], *, method: str = "minmax", only: Sequence[str] | None = None) -> bytes:
    """Convolutions in INT8 by the range of values in ``samples`` (inputs of steps). ``only``: the names of those to quantize.

    ``method``: of :data:`METHODS`. ``NothingToQuantize``.
    """
    chosen = convolutions(graph) if only is None else list(only)
    if not chosen:
        raise NothingToQuantize("the graph has no convolution to quantize; ship FP32 and FP16 only")
    samples = list(samples)
    if not samples:
        raise NothingToQuantize("there is no step to see the graph's values in; give sweeps of 2 frames or more")
    with tempfile.TemporaryDirectory(prefix="sonosweep.") as folder, _silence():
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        source.write_bytes(graph)
        quantize_static(
            source,
            target,
            _Reader(samples),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=chosen,
            op_types_to_quantize=["Conv"],
            calibrate_method=METHODS[method],
            extra_options=OPTIONS,
        )
        model = onnx.load(target)
    _spare_others(model)
    _quantize_shortcuts(model, graph, samples)
    return finished(model)


@contextmanager
def _silence() -> Iterator[None]:
    """The calibrators print what they do, and advise a preparation that the export has done; stdout is for the answer."""
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the base class is not typed
    """Samples as ONNX Runtime's calibrators ask for them."""

    def __init__(self, samples: Sequence[Tensors]) -> None:
        self._rest = iter(samples)

    def get_next(self) -> Tensors | None:
        """The next sample, None after the last."""
        return next(self._rest, None)


def _spare_others(model: onnx.ModelProto) -> None:
    """Who is neither a convolution nor the sum behind one reads what was before the pair: a correlation sees no rounded features."""
    producer = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        made = [producer[name].op_type if name in producer else "" for name in node.input]
        if node.op_type in ("Conv", "DequantizeLinear") or (node.op_type == "Add" and "Conv" in made):
            continue
        for at, op in enumerate(made):
            if op == "DequantizeLinear":
                node.input[at] = producer[producer[node.input[at]].input[0]].input[0]


def _quantize_shortcuts(model: onnx.ModelProto, graph: bytes, samples: Sequence[Tensors]) -> None:
    """One Q/DQ pair on the shortcut of each residual addition next to a quantized convolution, of the shortcut's own range."""
    producer = {name: node for node in model.graph.node for name in node.output}
    shortcuts = [(node, side) for node in model.graph.node if (side := _shortcut(node, producer)) is not None]
    largest = _largest(graph, sorted({node.input[side] for node, side in shortcuts}), samples)
    for node, side in shortcuts:
        value = node.input[side]
        names = {part: f"{value}.shortcut.{part}" for part in ("scale", "zero", "q", "dq")}
        fixed = [names["scale"], names["zero"]]
        if not any(tensor.name == names["scale"] for tensor in model.graph.initializer):
            scale = np.array(max(largest[value], 1e-9) / 127, np.float32)
            model.graph.initializer.append(numpy_helper.from_array(scale, fixed[0]))
            model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), fixed[1]))
            at = list(model.graph.node).index(node)
            model.graph.node.insert(at, helper.make_node("DequantizeLinear", [names["q"], *fixed], [names["dq"]], name=names["dq"]))
            model.graph.node.insert(at, helper.make_node("QuantizeLinear", [value, *fixed], [names["q"]], name=names["q"]))
        node.input[side] = names["dq"]


def _shortcut(node: onnx.NodeProto, producer: Mapping[str, onnx.NodeProto]) -> int | None:
    """Which input of ``node`` is a residual's shortcut: not the quantized convolution, or the smaller of two. None: there is none."""
    if node.op_type != "Add" or any(name not in producer for name in node.input):
        return None
    kernels = [_quantized_kernel(producer[name], producer) for name in node.input]
    if not any(kernels):
        return None
    side = kernels.index(min(kernels)) if min(kernels) != max(kernels) else 1
    return None if producer[node.input[side]].op_type == "DequantizeLinear" else side  # where it is a convolution's input as well


def _quantized_kernel(node: onnx.NodeProto, producer: Mapping[str, onnx.NodeProto]) -> int:
    """Pixels of a quantized convolution's kernel; 0 of anything else."""
    if node.op_type != "Conv" or node.input[0] not in producer or producer[node.input[0]].op_type != "DequantizeLinear":
        return 0
    return math.prod(next((a.ints for a in node.attribute if a.name == "kernel_shape"), ()))


def _largest(graph: bytes, values: Sequence[str], samples: Sequence[Tensors]) -> dict[str, float]:
    """The largest magnitude of each of ``values`` over the samples."""
    if not values:
        return {}
    model = onnx.load_model_from_string(graph)
    there = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in values if name not in there)
    session = ort.Runner(model.SerializeToString())
    return {name: max(float(np.abs(seen[name]).max()) for seen in map(session.infer, samples)) for name in values}


def finished(model: onnx.ModelProto) -> bytes:
    """Only standard operators, the versions that devices take, and nothing that is not needed to run it."""
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.ir_version = HIGHEST_IR
    model.producer_name, model.producer_version = "sonosweep", ""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        return check_graph(Path(file.name))[0]
