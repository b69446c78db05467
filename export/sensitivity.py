"""Which layers cost accuracy: each convolution alone in INT8, all others as they are, on tracked sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from PIL import Image, ImageDraw, ImageFont

from edge.atomic import replacing
from edge.console import progress
from edge.motion.card import Card, Parity
from edge.motion.stepper import Tensors
from export.graph import multiply_adds, tensor_shapes
from export.pack import REFERENCE
from export.parity import compared, named, summary
from export.quantization import convolutions, to_int8

ROW, LABEL, BAR, MARGIN = 26, 250, 480, 24  # pixels
INK, WORSE, BETTER, GRID = (30, 34, 40), (213, 94, 0), (0, 114, 178), (225, 225, 225)


class Layer(NamedTuple):
    """A convolution: its name, the shape of its weights, its share of all convolutions' products, and what INT8 there alone does."""

    name: str
    weights: tuple[int, ...]
    share_percent: float
    parity: Parity

    def row(self) -> dict[str, Any]:
        """For a table."""
        return {
            "layer": self.name,
            "weights": "x".join(map(str, self.weights)),
            "share %": self.share_percent,
            "drift points": self.parity.drift_points,
            "LPE ratio": self.parity.lpe_ratio,
            "step mm": self.parity.step_mm,
            "step deg": self.parity.step_deg,
        }


def layer_by_layer(card: Card, graph: bytes, samples: Sequence[Tensors], method: str, paths: Sequence[Path]) -> list[Layer]:
    """What INT8 in each convolution of ``graph`` (FP32) alone does on the tracked sweeps ``paths``."""
    names = convolutions(graph)
    alone = {name: to_int8(graph, samples, method=method, only=[name]) for name in progress(names, total=len(names), label="layers")}
    rows = compared(card, {REFERENCE: graph, **alone}, paths)
    model, on = onnx.load_model_from_string(graph), named(paths)
    shapes = tensor_shapes(model)
    nodes = [node for node in model.graph.node if node.name in alone]
    work = {node.name: multiply_adds(node, shapes) for node in nodes}
    return [
        Layer(
            name=node.input[1].removeprefix("module.").removesuffix(".weight"),  # what a person knows it by
            weights=tuple(shapes[node.input[1]]),
            share_percent=100 * work[node.name] / sum(work.values()),
            parity=summary(rows, node.name, on),
        )
        for node in nodes
    ]


def draw_layers(path: Path, found: Sequence[Layer], title: str) -> None:
    """A bar per layer: points of final drift rate that INT8 there alone costs (to the right) or gains."""
    worst = max(max((abs(layer.parity.drift_points) for layer in found), default=0.0), 1e-6)
    height = 2 * MARGIN + 44 + ROW * len(found)
    image = Image.new("RGB", (LABEL + BAR + 120, height), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    pen.text((MARGIN, 10), title, INK, ImageFont.load_default(16))
    pen.text((LABEL, 34), "points of final drift rate, INT8 in this layer alone", INK, font)
    middle, top = LABEL + BAR // 2, MARGIN + 36
    pen.line([(middle, top), (middle, height - MARGIN)], GRID, 2)
    for number, layer in enumerate(found):
        y = top + ROW * number
        points = layer.parity.drift_points
        end = middle + points / worst * (BAR // 2)
        pen.text((MARGIN, y + 4), f"{layer.name} {'x'.join(map(str, layer.weights))}"[:34], INK, font)
        pen.rectangle([min(middle, end), y + 5, max(middle, end), y + ROW - 5], WORSE if points > 0 else BETTER)
        pen.text((LABEL + BAR + 12, y + 4), f"{points:+.3f}", INK, font)
    with replacing(path) as out:
        image.save(out, format="PNG")
