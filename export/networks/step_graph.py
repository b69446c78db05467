"""A network as a step graph: explicit state, normalisation as inputs, nothing that a device runtime refuses."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from edge.motion.card import ImageInput, IntervalInput, MotionOutput, Normalisation, NormalisedLayer, StateTensor
from export.graph import HIGHEST_IR, HIGHEST_OPSET, check_graph
from export.networks.layers import Port, ProbeNorm, Window

INTERVAL = "interval"


class Step(nn.Module):
    """One step of ``module`` with tensors only: frame, interval where it is looked at, scales and shifts, state in; motion, log
    variance, statistics, state out."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module
        self.layers: dict[str, ProbeNorm] = {n: m for n, m in module.named_modules() if isinstance(m, ProbeNorm)}
        self.states = list(module.initial_state())

    def forward(self, frame: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Inputs and outputs in the order of :func:`_names`."""
        count = 2 * len(self.layers)
        interval, *values = rest if self.module.timed else (frame.new_ones(1, 1), *rest)
        ports = [Port(scale, shift) for scale, shift in zip(values[0:count:2], values[1:count:2], strict=True)]
        for layer, port in zip(self.layers.values(), ports, strict=True):
            layer.port = port
        try:
            motion, log_variance, state = self.module.step(frame, interval, dict(zip(self.states, values[count:], strict=True)))
        finally:
            for layer in self.layers.values():
                layer.port = None
        seen = [port.seen for port in ports if port.seen is not None]
        return motion, log_variance, *seen, *(state[name] for name in self.states)


def export_step(module: nn.Module, path: Path) -> dict[str, Any]:
    """Write the step graph of ``module`` to ``path``; the card's fields that follow from it (image, motion, state, layers ...).

    ``module`` is a network of ``export.networks``; it is exported as in evaluation, on the CPU. ``GraphUnfit`` where it
    would not run on the devices.
    """
    training, device = module.training, next(module.parameters()).device
    step = Step(module.cpu().eval()).eval()
    window: Window = step.module.window
    values = [value for layer in step.layers.values() for value in layer.scale_and_shift()]
    times = [torch.ones(1, 1)] * step.module.timed
    inputs = (torch.zeros(1, 1, window.height, window.width), *times, *values, *step.module.initial_state().values())
    names_in, names_out = _names(step)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(
            step, inputs, input_names=names_in, output_names=names_out, opset_version=HIGHEST_OPSET, dynamo=True, verbose=False
        )
    assert program is not None
    model = program.model_proto
    model.ir_version = HIGHEST_IR
    _plain(model)
    path.write_bytes(model.SerializeToString())
    check_graph(path)
    module.to(device).train(training)
    return _card(step)


def _names(step: Step) -> tuple[list[str], list[str]]:
    ports = [f"{name}.{kind}" for name in step.layers for kind in ("scale", "shift")]
    seen = [f"{name}.statistics" for name in step.layers]
    frame = ["frame", *[INTERVAL] * step.module.timed]
    return [*frame, *ports, *step.states], ["motion", "log_variance", *seen, *(f"new_{name}" for name in step.states)]


def _plain(model: onnx.ModelProto) -> None:
    """Take away what the exporter tells about source lines: it names folders of this machine, and makes every export differ."""
    for part in (model, model.graph, *model.graph.node):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.value_info[:]


def _card(step: Step) -> dict[str, Any]:
    module, window = step.module, step.module.window
    normalisation, layers = [], []
    for name, layer in step.layers.items():
        for kind, value in zip(("scale", "shift"), layer.scale_and_shift(), strict=True):
            normalisation.append(Normalisation(input=f"{name}.{kind}", shape=tuple(value.shape), values=_floats(value)))
        assert layer.running_mean is not None and layer.running_var is not None
        layers.append(
            NormalisedLayer(
                scale=f"{name}.scale",
                shift=f"{name}.shift",
                statistics=f"{name}.statistics",
                mean=_floats(layer.running_mean),
                variance=_floats(layer.running_var),
            )
        )
    state = [
        StateTensor(input=name, output=f"new_{name}", shape=tuple(value.shape), start="initial" if name in module.reset else "first-frame")
        for name, value in module.initial_state().items()
    ]
    motion = MotionOutput(
        output="motion",
        about="window-centre",
        scale=_floats(module.output_scale),  # type: ignore[arg-type]
        uncertainty="log_variance",
        uncertainty_is="log variance",
    )
    return {
        "interval": IntervalInput(input=INTERVAL) if module.timed else None,
        "image": ImageInput(input="frame", width=window.width, height=window.height, spacing_mm=window.spacing_mm),
        "motion": motion,
        "normalisation": tuple(normalisation),
        "layers": tuple(layers),
        "state": tuple(state),
        "start_runs": module.start_runs,
    }


def _floats(values: Tensor) -> tuple[float, ...]:
    return tuple(values.detach().cpu().float().tolist())
