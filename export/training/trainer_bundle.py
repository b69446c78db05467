"""From a trained module to a bundle that proves itself, with a card that says how it was trained and how well it does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import nn

from edge.motion.card import Card, ErrorMemory, Graph, Metric
from export.networks.step_graph import export_step
from export.pack import REFERENCE, Packed, pack
from export.training.recipes import Recipe
from export.training.trainer_measure import Measured

GOLDEN_FRAMES = 6
FILE = "fp32.onnx"


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """What a person writes into a card."""

    name: str
    version: str
    summary: str
    trained_on: str
    licence: str = "Apache-2.0"
    attribution: str = ""


def write_bundle(
    module: nn.Module,
    naming: Naming,
    recipe: Recipe,
    training: dict[str, Any],
    measured: Sequence[Measured],
    memory: ErrorMemory,
    golden: NDArray[np.uint8],
    out: Path,
) -> Packed:
    """Export the step graph of ``module``, pack and prove it. ``golden`` uint8 [n, H, W]: windows for the golden sequence."""
    with tempfile.TemporaryDirectory(prefix="sonosweep.") as folder:
        graph = Path(folder) / FILE
        fields = export_step(module, graph)
        content = graph.read_bytes()
    fields["motion"] = msgspec.structs.replace(fields["motion"], error_memory=memory)
    card = Card(
        kind="motion",
        **msgspec.structs.asdict(naming),
        graphs={REFERENCE: Graph(file=FILE)},
        training={"recipe": msgspec.to_builtins(recipe), **training},
        metrics=tuple(metric for one in measured for metric in metrics_of(one)),
        **fields,
    )
    return pack(card, {REFERENCE: content}, golden[:GOLDEN_FRAMES], out)


def metrics_of(measured: Measured) -> list[Metric]:
    """For the card: drift, LPE and correlations of one sweep (or of the mean of several) beside the constant motion."""
    rows = [
        ("final_drift_rate_percent", measured.final_drift_rate_percent, measured.constant["final_drift_rate_percent"]),
        ("piece_drift_rate_percent", measured.piece_drift_rate_percent, measured.constant["piece_drift_rate_percent"]),
        ("lpe_mm", measured.lpe_mm, measured.constant["lpe_mm"]),
        *((f"correlation_{name}", value, 0.0) for name, value in measured.correlation.items()),
        *((f"errors_within_{name}", value, 0.0) for name, value in measured.within.items()),
    ]
    finite = [row for row in rows if np.isfinite(row[1:]).all()]
    return [Metric(measured_on=measured.sweep, name=name, value=round(v, 4), constant_motion=round(c, 4)) for name, v, c in finite]
