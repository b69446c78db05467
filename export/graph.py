"""Reading a step graph and refusing what the runtimes of the devices would refuse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import shape_inference

from edge.errors import SonosweepError

# ONNX Runtime 1.23 (the last for Python 3.10) and TensorRT 10.3 (JetPack 6.2) both take these.
HIGHEST_OPSET = 19
HIGHEST_IR = 9
PRODUCTS = {"Conv", "Gemm", "MatMul"}
LOOPS = {"LSTM", "GRU", "RNN", "Loop", "Scan", "If"}  # TensorRT makes them loops, which no CUDA graph can capture


class GraphUnfit(SonosweepError):
    """A graph is no valid step graph for the devices."""


@dataclass(frozen=True)
class GraphFacts:
    """What there is to say about a graph that passed."""

    opset: int
    ir: int
    nodes: int
    parameters: int


def tensor_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Of every tensor of a graph with fixed shapes, constants among them."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output, *graph.value_info)}
    return found | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


def multiply_adds(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    """Of a convolution, a linear layer or a matrix product; 0 of anything else."""
    if node.op_type not in PRODUCTS:
        return 0
    out, first, second = math.prod(shapes[node.output[0]]), shapes[node.input[0]], shapes[node.input[1]]
    if node.op_type == "Conv":
        return out * math.prod(second[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return out * (first[0] if transposed else first[-1])


def check_graph(path: Path) -> tuple[bytes, GraphFacts]:
    """The bytes of the graph at ``path`` and what it is; ``GraphUnfit`` says what is wrong and how it is exported right."""
    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
            raise GraphUnfit(f"{path}: keeps weights in other files; save the graph as one file")
        onnx.checker.check_model(model, full_check=True)
    except OSError as wrong:
        raise GraphUnfit(f"{path}: {wrong.strerror}; name an ONNX file") from wrong
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as wrong:
        raise GraphUnfit(f"{path}: is not a valid ONNX graph: {(str(wrong).splitlines() or ['damaged'])[0]}") from wrong
    foreign = {entry.domain for entry in model.opset_import} - {"", "ai.onnx"}
    if foreign:
        raise GraphUnfit(f"{path}: uses operators of {sorted(foreign)}; export with standard operators only")
    opset = max(entry.version for entry in model.opset_import)
    if opset > HIGHEST_OPSET or model.ir_version > HIGHEST_IR:
        raise GraphUnfit(
            f"{path}: opset {opset}, IR {model.ir_version}; devices take opset {HIGHEST_OPSET} and IR {HIGHEST_IR} at most: "
            f"export with opset_version={HIGHEST_OPSET} and set model.ir_version = {HIGHEST_IR}"
        )
    loops = {node.op_type for node in model.graph.node} & LOOPS
    if loops:
        raise GraphUnfit(f"{path}: contains {', '.join(sorted(loops))}; export one step with the cell written out (LSTMCell)")
    parameters = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    return content, GraphFacts(opset, model.ir_version, len(model.graph.node), parameters)
