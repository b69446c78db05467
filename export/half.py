"""A step graph in FP16, typed throughout, as strongly typed TensorRT wants it.

Inputs, outputs and states stay FP32, so that no step rounds what is handed on; so does what leads from one learned layer to a square
root, logarithm, reciprocal or softmax (local contrast, lengths of vectors, attention): FP16 has three digits and ends at 6e-8.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from export.quantization import finished

SINGLE, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
LEARNED = {"Conv", "Gemm", "ConvTranspose"}
SENSITIVE = {"Sqrt", "Reciprocal", "Log", "Softmax"}
FILLED = {"Constant", "ConstantOfShape"}  # their type is not that of an input
Node = onnx.NodeProto


def to_fp16(graph: bytes) -> bytes:
    """The same graph, FP32 or with INT8 convolutions, in FP16 where that is safe."""
    model = shape_inference.infer_shapes(onnx.load_model_from_string(graph), strict_mode=True)
    converted = _Halved(model)
    for node in model.graph.node:
        converted.add(node)
    converted.close()
    return finished(model)


class _Halved:
    """Nodes taken over one by one, each with inputs of the type that it computes in."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = graph = model.graph
        self._kept = before_sensitive(graph) | {node.name for node in graph.node if node.op_type in FILLED}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        typed = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)}
        self._types = typed | {name: tensor.data_type for name, tensor in self._constants.items()}
        self._outputs = {output.name for output in graph.output}
        self._nodes: list[Node] = []
        self._made: set[str] = set()
        given = [*self._constants, *(value.name for value in graph.input)]
        self._now = {name: self._types[name] for name in given}

    def add(self, node: Node) -> None:
        """Take ``node`` over, in its own precision."""
        kind = SINGLE if node.name in self._kept else HALF
        new = Node()
        new.CopyFrom(node)
        new.input[:] = [self._as(name, kind) if self._types.get(name) == SINGLE else name for name in node.input]
        for attribute in new.attribute:
            if attribute.name == "to" and attribute.i == SINGLE:
                attribute.i = kind
        self._nodes.append(new)
        for at, name in enumerate(node.output):
            if self._types.get(name) != SINGLE:
                continue
            self._now[name] = kind
            if name in self._outputs and kind == HALF:
                new.output[at] = f"{name}.fp16"
                self._made.add(new.output[at])
                self._nodes.append(helper.make_node("Cast", [new.output[at]], [name], to=SINGLE, name=f"{name}.fp32"))
                self._now[name] = SINGLE

    def close(self) -> None:
        """Put the new nodes, and constants in the precisions that they are read in, in place of the old."""
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _as(self, name: str, kind: int) -> str:
        """What ``name`` is called in the precision ``kind``: made where it is not there yet."""
        if self._now[name] == kind:
            return name
        other = f"{name}.{'fp16' if kind == HALF else 'single'}"
        if other not in self._made:
            self._made.add(other)
            if name in self._constants:
                self._graph.initializer.append(_half(self._constants[name], other))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [other], to=kind, name=f"{other}.cast"))
        return other


def before_sensitive(graph: onnx.GraphProto) -> set[str]:
    """Names of the sensitive nodes and of all between them and the learned layers (or inputs) before."""
    producer = {name: node for node in graph.node for name in node.output}
    waiting = [node for node in graph.node if node.op_type in SENSITIVE]
    kept: set[str] = set()
    while waiting:
        node = waiting.pop()
        if node.name not in kept and node.op_type not in LEARNED:
            kept.add(node.name)
            waiting += [producer[name] for name in node.input if name in producer]
    return kept


def _half(tensor: TensorProto, name: str) -> TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name)
