"""Parts of MoGLo-Net: its residual block, the patch-wise correlation, the global-local attention, an LSTM read to its end."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.layers import ProbeNorm

RADIUS, PATCH = 8, 3  # of the search, in pixels of the map; side of a template
WIDE = 2 * RADIUS + 1
SHIFTS = WIDE - PATCH + 1


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut: a 1x1 convolution where channels change, then a maximum over 2x2 where it halves."""

    def __init__(self, channels: int, to: int, *, down: bool = False, visible: bool = False) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, to, 3, 2 if down else 1, 1, bias=False)
        self.norm_1 = ProbeNorm(to) if visible else nn.BatchNorm2d(to)
        self.conv_2 = nn.Conv2d(to, to, 3, 1, 1, bias=False)
        self.norm_2 = nn.BatchNorm2d(to)
        self.equal = nn.Conv2d(channels, to, 1) if channels != to else nn.Identity()
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to [n, to, h, w], or half of h and w."""
        deep = self.norm_2(self.conv_2(functional.silu(self.norm_1(self.conv_1(x)))))
        short = self.equal(x)
        return functional.silu(deep + (functional.max_pool2d(short, 2) if self.down else short))


class PatchCorrelation(nn.Module):
    """Cosine similarity of 16 x 16 templates (3x3, all channels) of one map with 15 x 15 windows around each in the other.

    As published the channels of the result are the templates and its axes the displacements; it is stretched to a quarter of
    the map's side. No gradient flows. One matrix product per template, then nine shifted sums: no unfolded copy of the windows.
    """

    rows: Tensor
    search: Tensor
    stretch: Tensor

    def __init__(self, size: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        start = torch.arange(grid)[:, None] * (size // grid)
        self.register_buffer("rows", (start + torch.arange(PATCH)).flatten(), persistent=False)
        self.register_buffer("search", (start + torch.arange(WIDE)).flatten(), persistent=False)
        self.register_buffer("stretch", stretching(size // 4, SHIFTS), persistent=False)

    @torch.no_grad()
    def forward(self, before: Tensor, now: Tensor) -> Tensor:
        """Two maps [n, c, size, size] to [n, 256, size / 4, size / 4]."""
        with torch.autocast(before.device.type, enabled=False):
            found = self.correlate(before.float(), now.float())
            return self.stretch @ found @ self.stretch.T

    def correlate(self, before: Tensor, now: Tensor) -> Tensor:
        """[n, 256, 15, 15]: templates of ``before``, displacements in ``now``."""
        (n, c), g = before.shape[:2], self.grid
        template = functional.pad(before, (1, 1, 1, 1)).index_select(2, self.rows).index_select(3, self.rows)
        template = template.reshape(n, c, g, PATCH, g, PATCH).permute(0, 2, 4, 3, 5, 1).reshape(n, g * g, PATCH * PATCH, c)
        around = functional.pad(now, (RADIUS,) * 4).index_select(2, self.search).index_select(3, self.search)
        around = around.reshape(n, c, g, WIDE, g, WIDE).permute(0, 2, 4, 1, 3, 5).reshape(n, g * g, c, WIDE * WIDE)
        products = (template @ around).reshape(n, g * g, PATCH, PATCH, WIDE, WIDE)
        dot = torch.zeros_like(products[:, :, 0, 0, :SHIFTS, :SHIFTS])
        for y in range(PATCH):
            for x in range(PATCH):
                dot = dot + products[:, :, y, x, y : y + SHIFTS, x : x + SHIFTS]
        power = (around * around).sum(2).reshape(n, g * g, WIDE, WIDE)
        length = torch.sqrt(functional.avg_pool2d(power, PATCH, 1) * PATCH * PATCH) + 1e-6
        own = torch.sqrt((template * template).sum((2, 3))) + 1e-6
        return dot / (length * own[:, :, None, None])


def stretching(to: int, size: int) -> Tensor:
    """[to, size]: linear interpolation that keeps the corners."""
    at = torch.arange(to) * (size - 1) / (to - 1)
    return (1 - (at[:, None] - torch.arange(size)).abs()).clamp(min=0)


class ChannelAttention(nn.Module):
    """A weight per channel from its mean and its maximum, through one small network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(2, channels // 16)
        self.shared = nn.Sequential(nn.Linear(channels, narrow), nn.SiLU(), nn.Linear(narrow, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to [n, channels]."""
        return torch.sigmoid(self.shared(x.mean((2, 3)))) + torch.sigmoid(self.shared(x.amax((2, 3))))


class Attention(nn.Module):
    """Global-local attention: patches of the local map weighted by how alike each is to the global map. No softmax."""

    def __init__(self, local: int, whole: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.whole_channels, self.local_channels = ChannelAttention(whole), ChannelAttention(local)
        self.place = nn.Sequential(nn.Conv2d(2, 1, 3, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())
        self.project = nn.Sequential(nn.Conv2d(whole, local, 1, bias=False), nn.BatchNorm2d(local), nn.SiLU())
        count = whole // local
        self.merge = nn.Sequential(nn.Conv2d(grid * grid, count, 1, bias=False), nn.BatchNorm2d(count), nn.SiLU())

    def forward(self, local: Tensor, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps [n, local, s, s] and [n, whole, p, p] with s = 16 p to both as [n, whole, p, p], and the scores [n, 256]."""
        (n, c), (p, g) = local.shape[:2], (whole.shape[2], self.grid)
        whole = whole * self.whole_channels(whole)[:, :, None, None]
        whole = whole * self.place(torch.cat([whole.mean(1, keepdim=True), whole.amax(1, keepdim=True)], 1))
        patches = local.reshape(n, c, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(n, g * g, c, p, p)
        patches = patches * self.local_channels(patches.mean(1))[:, None, :, None, None]
        flat, wanted = patches.flatten(2), self.project(whole).flatten(1)
        alike = (flat @ wanted[:, :, None])[:, :, 0]
        lengths = torch.sqrt((flat * flat).sum(2) * (wanted * wanted).sum(1, keepdim=True) + 1e-12)
        scores = (alike / lengths + 1) / 2
        merged = self.merge((flat * scores[:, :, None]).reshape(n, g * g, c * p, p))
        return merged.reshape(n, -1, p, p), whole, scores


def last_of_lstm(lstm: nn.LSTM, sequence: Tensor) -> Tensor:
    """Output of the last step, the memory empty at first, with the cell written out: [n, steps, inputs] to [n, hidden]."""
    into, back, a, b = lstm.all_weights[0]
    hidden = cell = sequence.new_zeros(sequence.shape[0], lstm.hidden_size)
    for x in sequence.unbind(1):
        i, f, g, o = (functional.linear(x, into, a) + functional.linear(hidden, back, b)).chunk(4, 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
    return hidden
