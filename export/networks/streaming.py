"""What carried state saves: MoGLo-Net's streaming step beside its published window of five frames, same weights, same runtime."""

from __future__ import annotations

import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import edge.motion.ort as ort
from edge.console import progress
from edge.motion.card import Card, Graph
from edge.motion.stepper import Stepper
from export.graph import HIGHEST_IR, HIGHEST_OPSET
from export.networks.flops import count_flops
from export.networks.moglo import PAIRS, MoGLo
from export.networks.step_graph import export_step


class Saved(NamedTuple):
    """Cost of one motion: FLOPs of convolutions and linear layers, and the median time in ms of ``runs`` of either, in turn."""

    window_gflop: float
    step_gflop: float
    flop_ratio: float
    window_ms: float
    step_ms: float
    time_ratio: float
    runs: int
    largest_difference: float  # between both answers to the same frames, scaled


class _Window(nn.Module):
    """Five frames [1, 5, 1, size, size] to the scaled motion of the last pair; all four pairs batched."""

    def __init__(self, network: MoGLo) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        """[1, 6]."""
        local, whole = self.network.heads(frames)[0]
        return (local[:, -1] + whole[:, -1]) / 2


def measure_streaming(width: float, size: int, runs: int, threads: int) -> Saved:
    """Both forms of a MoGLo-Net with random weights (its speed does not depend on them), run in turn on ONNX Runtime."""
    torch.manual_seed(0)
    network = MoGLo(width, size).eval()
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (1, PAIRS + 1, 1, size, size)).astype(np.float32))
    with torch.no_grad():
        window_gflop = count_flops(network, lambda: network.heads(frames)) / 1e9
        step_gflop = count_flops(network, lambda: network.step(frames[:, 0], torch.ones(1, 1), network.initial_state())) / 1e9
    stepper, window = _stepper(network, threads), _window(network, frames, threads)
    images, given = frames[0, :, 0].numpy(), {"frames": frames.numpy()}
    stepper.start(images[0])
    streamed = [stepper.step(image)["motion"] for image in images[1:]][-1]
    apart = float(np.abs(streamed - window.infer(given)["motion"]).max())
    took = []
    for _ in progress(range(runs), total=runs, label="in turn"):
        times = [time.perf_counter()]
        for work in (partial(window.infer, given), partial(stepper.step, images[-1])):
            work()
            times.append(time.perf_counter())
        took.append(np.diff(times))
    window_ms, step_ms = (1e3 * np.median(took, 0)).tolist()
    return Saved(window_gflop, step_gflop, window_gflop / step_gflop, window_ms, step_ms, window_ms / step_ms, runs, apart)


def _stepper(network: MoGLo, threads: int) -> Stepper:
    with tempfile.TemporaryDirectory(prefix="sonosweep.") as folder:
        path = Path(folder) / "step.onnx"
        fields = export_step(network, path)
        card = Card(
            kind="motion",
            name="moglo",
            version="0",
            summary="random weights, to be timed",
            graphs={"fp32": Graph(file=path.name)},
            trained_on="nothing",
            licence="Apache-2.0",
            **fields,
        )
        return Stepper(card, ort.Runner(path.read_bytes(), threads))


def _window(network: MoGLo, frames: Tensor, threads: int) -> ort.Runner:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(
            _Window(network),
            (frames,),
            input_names=["frames"],
            output_names=["motion"],
            opset_version=HIGHEST_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model_proto.ir_version = HIGHEST_IR
    return ort.Runner(program.model_proto.SerializeToString(), threads)
