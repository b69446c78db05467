"""Layers that the motion networks share: normalisation that a probe can replace, residual blocks, a written-out LSTM cell."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ProbeNorm(nn.BatchNorm2d):
    """Batch normalisation that stays visible in the step graph: its scale and shift become graph inputs.

    ``given``: (scale, shift), each [channels], used in place of the running statistics; the layer then keeps the mean and the
    mean square of its input, [2, channels], in ``seen``, from which the device re-estimates both on unlabelled images.
    """

    given: tuple[Tensor, Tensor] | None = None
    seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to the same."""
        if self.given is None:
            return super().forward(x)
        self.seen = torch.stack([x.mean((0, 2, 3)), (x * x).mean((0, 2, 3))])
        scale, shift = self.given
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What the running statistics amount to, each [channels]."""
        assert self.running_mean is not None and self.running_var is not None
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        return scale.detach(), (self.bias - self.running_mean * scale).detach()


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
