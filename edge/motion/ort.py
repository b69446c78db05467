"""ONNX Runtime, the reference backend: runs a step graph on the CPU. The only file that imports onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.motion.card import Ports
from edge.motion.source import MotionFailed, MotionUnavailable

TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}


class GraphRefused(MotionUnavailable):
    """ONNX Runtime cannot load a graph."""


def missing() -> str:
    """What this backend lacks here; empty where it can run."""
    return "" if find_spec("onnxruntime") else "onnxruntime is not installed (pip install 'sonosweep[network]')"


def without_telemetry() -> None:
    """Before onnxruntime is imported: from 1.32 on it keeps a database of its use and an id of the device in the user's cache (on a device:
    among the patients' data), and sends it where it can. Its own ``disable_telemetry_events`` comes too late: both are there by then.
    """
    os.putenv("ORT_DISABLE_TELEMETRY", "1")


class Runner:
    """One graph, ready to run. ``threads`` 0 takes every core this process may use. Not for two threads at once.

    ``as_written``: every node as it stands, and none rewritten: for graphs that are made for TensorRT. ONNX Runtime 1.31 rewrites INT8 in
    FP16 into something three times as far from FP32.
    """

    def __init__(self, graph: bytes, threads: int = 0, *, as_written: bool = False) -> None:
        # Imported here: ONNX Runtime costs 0.1 s and 60 MB that recorded and constant motion need not pay.
        without_telemetry()
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        named = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception))
        self._errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, *named)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if as_written:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Waiting threads sleep: between frames the cores belong to compounding and the bus.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except self._errors as wrong:
            raise GraphRefused(f"ONNX Runtime {onnxruntime.__version__} refuses the graph: {_first_line(wrong)}") from wrong
        self.inputs = _signature(self._session.get_inputs())
        self.outputs = _signature(self._session.get_outputs())
        self._names = list(self.outputs)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name: fresh arrays, owned by the caller. Inputs are read in place. ``MotionFailed`` where it cannot."""
        try:
            values = self._session.run(self._names, dict(inputs))
        except self._errors as wrong:
            raise MotionFailed(f"ONNX Runtime cannot run the graph: {_first_line(wrong)}") from wrong
        return dict(zip(self._names, (np.asarray(value) for value in values), strict=True))


def _signature(arguments: Any) -> Ports:
    return {a.name: (tuple(a.shape), TYPES.get(a.type, a.type)) for a in arguments}


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or [type(wrong).__name__])[0][:300]
