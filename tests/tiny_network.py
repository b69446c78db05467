"""A step graph small enough to be understood: elevational step from the correlation of two pooled frames, made without torch.

Its state is real: the map of the frame before, a ring of the last three steps, and a count of the steps of the sweep.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE, POOL, SCALE = 32, 4, (1.0, 1.0, 2.0, 1.0, 1.0, 0.5)
CARD: dict[str, Any] = {
    "format": 1,
    "kind": "motion",
    "name": "tiny",
    "version": "1",
    "summary": "correlation of two pooled frames; for tests",
    "graphs": {"fp32": {"file": "step.onnx"}},
    "image": {"input": "frame", "width": SIZE, "height": SIZE, "spacing_mm": [0.5, 0.5]},
    "motion": {"output": "motion", "scale": SCALE, "uncertainty": "log_variance", "uncertainty_is": "log variance"},
    "normalisation": [
        {"input": "scale", "shape": [1], "values": [1 / 255]},
        {"input": "shift", "shape": [1], "values": [0.0]},
    ],
    "state": [
        {"input": "previous", "output": "new_previous", "shape": [1, 1, SIZE // POOL, SIZE // POOL]},
        {"input": "ring", "output": "new_ring", "shape": [1, 3]},
        {"input": "count", "output": "new_count", "shape": [1, 1], "start": "initial"},
    ],
    "start_runs": 4,
    "trained_on": "nothing",
    "licence": "Apache-2.0",
}


def card_json(**changes: Any) -> bytes:
    """The card draft that goes with the graph."""
    return msgspec.json.encode({**CARD, **changes})


def step_graph(opset: int = 19, gain: float = 1.0) -> onnx.ModelProto:
    """The step graph; ``gain`` multiplies the elevational step (to make a graph that is not the golden one)."""

    def value(name: str, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    constants = {
        "axes": np.array([2, 3]),
        "last": np.array([1]),
        "from1": np.array([1]),
        "to3": np.array([3]),
        "tiny": np.array(1e-9, np.float32),
        "one": np.array([[1.0]], np.float32),
        "gain": np.array([[gain]], np.float32),
        "slow": np.array([[0.001]], np.float32),
        "zeros2": np.zeros((1, 2), np.float32),
        "spread": np.full((1, 6), -4, np.float32),
        "flat": np.array([1, 1]),
    }
    rows = [
        ("Mul", ["frame", "scale"], "scaled", {}),
        ("Add", ["scaled", "shift"], "normal", {}),
        ("AveragePool", ["normal"], "pooled", {"kernel_shape": [POOL, POOL], "strides": [POOL, POOL]}),
        ("ReduceMean", ["pooled", "axes"], "mean", {}),
        ("Sub", ["pooled", "mean"], "new_previous", {}),
        ("Mul", ["new_previous", "previous"], "product", {}),
        ("ReduceSum", ["product", "axes"], "together", {}),
        ("ReduceSumSquare", ["new_previous", "axes"], "power", {}),
        ("ReduceSumSquare", ["previous", "axes"], "power_before", {}),
        ("Mul", ["power", "power_before"], "powers", {}),
        ("Add", ["powers", "tiny"], "powers_up", {}),
        ("Sqrt", ["powers_up"], "root", {}),
        ("Div", ["together", "root"], "correlation4", {}),
        ("Reshape", ["correlation4", "flat"], "correlation", {}),
        ("Sub", ["one", "correlation"], "decorrelation", {}),
        ("Mul", ["decorrelation", "gain"], "step", {}),
        ("Slice", ["ring", "from1", "to3", "last"], "younger", {}),
        ("Concat", ["younger", "step"], "new_ring", {"axis": 1}),
        ("ReduceMean", ["new_ring", "last"], "smooth", {}),
        ("Add", ["count", "one"], "new_count", {}),
        ("Mul", ["new_count", "slow"], "turn", {}),
        ("Concat", ["zeros2", "smooth", "zeros2", "turn"], "motion", {"axis": 1}),
        ("Sub", ["spread", "smooth"], "log_variance", {}),
    ]
    nodes = [helper.make_node(op, inputs, [output], **attributes) for op, inputs, output, attributes in rows]
    inputs, outputs = [value("frame", [1, 1, SIZE, SIZE]), value("scale", [1]), value("shift", [1])], []
    for state in CARD["state"]:
        inputs.append(value(state["input"], state["shape"]))
        outputs.append(value(state["output"], state["shape"]))
    outputs += [value("motion", [1, 6]), value("log_variance", [1, 6])]
    initial = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "tiny step", inputs, outputs, initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def windowed(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same network without state: frames [n, SIZE, SIZE] at once, scaled motions [n - 1, 6]. The first frame's pair with itself
    (step 0) fills the ring."""
    n = len(frames)
    pooled = (frames / 255).reshape(n, SIZE // POOL, POOL, SIZE // POOL, POOL).mean((2, 4)).astype(np.float64)
    pooled -= pooled.mean((1, 2), keepdims=True)
    power = (pooled**2).sum((1, 2))
    steps = 1 - (pooled[1:] * pooled[:-1]).sum((1, 2)) / np.sqrt(power[1:] * power[:-1] + 1e-9)
    padded = np.concatenate([np.zeros(2), steps])
    motions = np.zeros((n - 1, 6))
    motions[:, 2] = [padded[i : i + 3].mean() for i in range(n - 1)]
    motions[:, 5] = 0.001 * (1 + np.arange(n - 1))
    return motions * SCALE
