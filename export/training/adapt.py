"""Fitting a trained network to a probe: normalisation statistics of its unlabelled images, then its tracked sweeps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from export.training.sweeps import TrainingSweep
from export.training.trainer import Batches
from export.training.trainer_batches import Sequences

PIECE, TOGETHER = 8, 16  # frames, as in a training sequence; pieces in a pass


class Mixed:
    """Batches of two sources: ``share`` of the sequences from ``second``, at random."""

    def __init__(self, first: Batches, second: Batches, share: float) -> None:
        self._first, self._second, self._share = first, second, share

    def __call__(self, rng: np.random.Generator, count: int, frames: int) -> Sequences:
        """As :class:`export.training.trainer.Batches`."""
        others = int(rng.binomial(count, self._share))
        drawn = [source(rng, n, frames) for source, n in ((self._first, count - others), (self._second, others)) if n]
        return reduce(Sequences.mixed_with, drawn)


@torch.no_grad()
def normalise_to(module: nn.Module, sweeps: Iterable[TrainingSweep]) -> int:
    """Replace the statistics of every batch normalisation by those of the sweeps' images; answers with the number of images.

    No labels are used. A pass holds pieces of many sweeps, as in training: with one sweep alone in a pass, the layers behind
    would see what that sweep's own statistics make of it, and not what all sweeps' do (LPE 0.32 in place of 0.28 mm).
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    usual, device = [layer.momentum for layer in layers], next(module.parameters()).device
    pieces = _pieces(module, sweeps)
    order = np.random.default_rng(0).permutation(len(pieces))
    module.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all passes
        layer.train()
    for chosen in np.array_split(order, -(-len(order) // TOGETHER)):
        seen, intervals = (torch.stack(parts) for parts in zip(*(pieces[i] for i in chosen), strict=True))
        module(seen.to(device), intervals.to(device))
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum
    module.eval()
    return sum(len(seen) for seen, _ in pieces)


def _pieces(module: Any, sweeps: Iterable[TrainingSweep]) -> list[tuple[Tensor, Tensor]]:
    """What the network sees of all sweeps, and the intervals, in pieces of :data:`PIECE` frames; what is left over is left out."""
    kept = [(module.see(torch.from_numpy(sweep.windows)), torch.from_numpy(sweep.intervals)) for sweep in sweeps]
    length = min(PIECE, *(len(seen) for seen, _ in kept))
    return [
        (seen[first : first + length], intervals[first : first + length - 1])
        for seen, intervals in kept
        for first in range(0, len(seen) - length + 1, length)
    ]
