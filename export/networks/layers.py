"""Layers that the motion networks share: normalisation that a probe can replace, residual blocks, a written-out LSTM cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

MIRROR = (-1.0, 1.0, 1.0, 1.0, -1.0, -1.0)  # of the six motion parameters, where left and right change places


class Window(NamedTuple):
    """What a network sees: pixels and their size in mm (lateral, axial); see ``edge.motion.resample``."""

    height: int
    width: int
    spacing_mm: tuple[float, float] = (0.267, 0.225)


@dataclass
class Port:
    """Where a step graph reaches into a normalisation layer: the scale and shift that it gives, the statistics that it takes."""

    scale: Tensor | None = None
    shift: Tensor | None = None
    seen: Tensor | None = None


class ProbeNorm(nn.BatchNorm2d):
    """Batch normalisation that stays visible in the step graph: its scale and shift [channels] become graph inputs.

    With a ``port`` it uses that one's values in place of the running statistics, and leaves there the mean and the mean square
    of its input, [2, channels], from which a device fits both to a probe by unlabelled images.
    """

    port: Port | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to the same."""
        if self.port is None or self.port.scale is None or self.port.shift is None:
            return super().forward(x)
        self.port.seen = torch.stack([x.mean((0, 2, 3)), (x * x).mean((0, 2, 3))])
        return x * self.port.scale.reshape(1, -1, 1, 1) + self.port.shift.reshape(1, -1, 1, 1)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What weights and running statistics amount to, each [channels]."""
        assert self.running_mean is not None and self.running_var is not None
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        return scale.detach(), (self.bias - self.running_mean * scale).detach()


def steady(module: nn.Module, momentum: float = 0.02) -> None:
    """Running statistics over some fifty batches instead of ten: a checkpoint must not depend on the last few sweeps."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = momentum


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut; ReLU, because it quantizes well."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to the same."""
        return torch.relu(x + self.body(x))


class Cell(nn.Module):
    """One LSTM step as a matrix product and gates, so that no runtime makes a loop of it."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Linear(inputs + hidden, 4 * hidden)
        with torch.no_grad():  # remembers at first: gradients reach back over the sequence from the beginning
            self.gates.bias[hidden : 2 * hidden].fill_(1.0)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, inputs], h and c [n, hidden] to the new h and c."""
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
