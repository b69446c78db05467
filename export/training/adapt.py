"""Fitting a trained network to a probe: normalisation statistics of its unlabelled images, then its tracked sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from export.training.sweeps import TrainingSweep
from export.training.trainer import Batches

PIECE = 8  # frames a pass: what a training sequence has


class Mixed:
    """Batches of two sources: ``share`` of the sequences from ``second``, at random."""

    def __init__(self, first: Batches, second: Batches, share: float) -> None:
        self._first, self._second, self._share = first, second, share

    def __call__(self, rng: np.random.Generator, count: int, frames: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """As :class:`export.training.trainer.Batches`."""
        others = int(rng.binomial(count, self._share))
        drawn = [source(rng, n, frames) for source, n in ((self._first, count - others), (self._second, others)) if n]
        return np.concatenate([images for images, _ in drawn]), np.concatenate([motion for _, motion in drawn])


@torch.no_grad()
def normalise_to(module: nn.Module, sweeps: Sequence[TrainingSweep]) -> int:
    """Replace the statistics of every batch normalisation by those of the sweeps' images; answers with the number of images.

    No labels are used. Mean and variance are those of all images together.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    device = next(module.parameters()).device
    mean = [torch.zeros_like(_buffer(layer.running_mean)) for layer in layers]
    square = [torch.zeros_like(_buffer(layer.running_var)) for layer in layers]
    usual = [layer.momentum for layer in layers]
    module.eval()
    for layer in layers:
        layer.momentum = 1.0  # keep the statistics of the last pass alone
        layer.train()
    images = 0
    for sweep in sweeps:
        for first in range(0, len(sweep.windows) - 1, PIECE):
            piece = sweep.windows[first : first + PIECE]
            if len(piece) < 2:
                continue
            module(torch.from_numpy(piece).to(device)[None, :, None].float())
            images += len(piece)
            for i, layer in enumerate(layers):
                mean[i] += len(piece) * _buffer(layer.running_mean)
                square[i] += len(piece) * (_buffer(layer.running_var) + _buffer(layer.running_mean).square())
    for i, layer in enumerate(layers):
        _buffer(layer.running_mean).copy_(mean[i] / images)
        _buffer(layer.running_var).copy_(square[i] / images - (mean[i] / images).square())
        layer.momentum = usual[i]
    module.eval()
    return images


def _buffer(value: torch.Tensor | None) -> torch.Tensor:
    if value is None:
        raise TypeError("a normalisation layer without statistics cannot be fitted to a probe")
    return value
