"""What an engine's layers compute in, from the inspector's JSON: TensorRT 10 and 11 write it differently."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from edge.motion.engine import LayerReport

INT8 = re.compile(r"int8", re.IGNORECASE)
CONVOLUTION = re.compile(r"conv", re.IGNORECASE)
REFORMAT = "Reformat"
DATA_TYPE = ("Format/Datatype", "DataType", "Datatype", "Format")  # the first in 10.x, the others since 11.0


def report_layers(information: str) -> LayerReport:
    """``information``: EngineInspector.get_engine_information(JSON) of an engine built with detailed verbosity.

    A layer counts as INT8 where its first input and its weights are. Layers that TensorRT fuses into one (Myelin's) show as what
    they are called in ``kinds``, and the convolutions within them cannot be told.
    """
    try:
        told = json.loads(information)
    except json.JSONDecodeError:
        return LayerReport(schema="not readable", layers=0, convolutions=0, convolutions_int8=0, work=0, work_int8=0, reformats=0, kinds={})
    layers = [layer if isinstance(layer, dict) else {"Name": layer} for layer in told.get("Layers", [])]  # names only: less verbosity
    kinds = Counter(str(layer.get("LayerType", "not told")) for layer in layers)
    convolutions = [layer for layer in layers if _is_convolution(layer)]
    int8 = [layer for layer in convolutions if _is_int8(layer)]
    return LayerReport(
        schema="11.x" if "I/O Tensors" in told else "10.x",
        layers=len(layers),
        convolutions=len(convolutions),
        convolutions_int8=len(int8),
        work=sum(map(_work, convolutions)),
        work_int8=sum(map(_work, int8)),
        reformats=kinds[REFORMAT],
        kinds=dict(sorted(kinds.items())),
    )


def _is_convolution(layer: dict[str, Any]) -> bool:
    return bool(CONVOLUTION.search(str(layer.get("ParameterType") or layer.get("LayerType", ""))))


def _is_int8(layer: dict[str, Any]) -> bool:
    first = _first(layer, "Inputs")
    kind = " ".join(str(first.get(key, "")) for key in DATA_TYPE)
    return bool(INT8.search(kind) and INT8.search(str(layer.get("Weights", {}).get("Type", ""))))


def _work(layer: dict[str, Any]) -> int:
    """Multiply-adds: every weight is used once for each output pixel. 0 where sizes are not told."""
    sizes = _first(layer, "Outputs").get("Dimensions", [])
    if len(sizes) < 3:
        return 0
    batch, _, *places = map(int, sizes)
    return int(layer.get("Weights", {}).get("Count", 0)) * batch * math.prod(places)


def _first(layer: dict[str, Any], ports: str) -> dict[str, Any]:
    tensors: list[dict[str, Any]] = layer.get(ports, [])
    return tensors[0] if tensors else {}
