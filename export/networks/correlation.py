"""Local correlation of two images or feature maps over shifts: how far speckle moved, and how much of it is new."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def box(length: int, size: int) -> Tensor:
    """[length, length]: mean over ``size`` neighbours along one axis, over fewer at the edges."""
    at = torch.arange(length)
    share = ((at[:, None] - at[None, :]).abs() <= size // 2).float()
    return share / share.sum(1, keepdim=True)


def pooling(cells: int, length: int) -> Tensor:
    """[cells, length]: mean over each cell and half of each neighbour, so that cells overlap; nothing beyond the edge."""
    size = length // cells
    at = torch.arange(length)[None, :] - torch.arange(cells)[:, None] * size
    share = ((at >= -(size // 2)) & (at < size + size // 2)).float()
    return share / share.sum(1, keepdim=True)


def shifts(axial: int, lateral: int) -> Tensor:
    """[n, 1, 2 axial + 1, 2 lateral + 1]: kernels that each take one shift of an image."""
    count = (2 * axial + 1) * (2 * lateral + 1)
    return torch.eye(count).reshape(count, 1, 2 * axial + 1, 2 * lateral + 1)


class Speckle(torch.nn.Module):
    """What is speckle in a frame, and how it correlates with another's over shifts, averaged over a grid of cells.

    Nothing here is learned. Local means are matrix products: pooling over large windows costs ONNX Runtime 20 times as much.
    """

    floor = 1e-4  # of a local variance in (grey / 255)^2: below it an area is empty, not speckle
    rows: Tensor
    columns: Tensor
    cell_rows: Tensor
    cell_columns: Tensor
    kernels: Tensor

    def __init__(self, height: int, width: int, cells: int, axial: int, lateral: int) -> None:
        super().__init__()
        self.reach = axial, lateral
        fixed = {
            "rows": box(height, 9),
            "columns": box(width // 2, 9).T.contiguous(),
            "cell_rows": pooling(cells, height),
            "cell_columns": pooling(cells, width // 2).T.contiguous(),
            "kernels": shifts(axial, lateral),
        }
        for name, value in fixed.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [n, 1, h, w] (0..1) with local mean taken away and local contrast made one: [n, 1, h, w / 2].

        Neighbours are averaged laterally, where speckle is twice as wide as it is axially. Log-compressed grey loses its gain
        here with the mean, and its dynamic range with the contrast.
        """
        half = functional.avg_pool2d(frames, (1, 2))
        detail = half - self.rows @ half @ self.columns
        return detail * torch.rsqrt(self.rows @ (detail * detail) @ self.columns + self.floor)

    def correlation(self, now: Tensor, before: Tensor) -> Tensor:
        """Of two results [n, 1, h, w / 2]: [n, shifts, cells, cells], shifts ordered as in ``map_correlation``."""
        if len(now) == 1:  # few nodes in a step graph; for a batch the shifted copies would not stay in the cache
            products = functional.conv2d(before, self.kernels, padding=self.reach) * now
            return self.cell_rows @ products @ self.cell_columns
        axial, lateral = self.reach
        (h, w), padded = now.shape[2:], functional.pad(before, (lateral, lateral, axial, axial))
        across = [
            (now * padded[:, :, dy : dy + h, dx : dx + w]).squeeze(1) @ self.cell_columns
            for dy in range(2 * axial + 1)
            for dx in range(2 * lateral + 1)
        ]
        return self.cell_rows @ torch.stack(across, 1)


def normalised(maps: Tensor, size: int, floor: float) -> Tensor:
    """[n, c, h, w] divided by its root mean square over channels and ``size`` x ``size`` neighbours; empty areas stay near 0."""
    power = functional.avg_pool2d((maps * maps).mean(1, keepdim=True), size, 1, size // 2, count_include_pad=False)
    return maps * torch.rsqrt(power + floor)


def map_correlation(now: Tensor, before: Tensor, axial: int, lateral: int) -> Tensor:
    """Products of ``now`` and shifted ``before`` (both [n, c, h, w]) averaged over channels: [n, shifts, h, w].

    Shift (dy + axial) (2 lateral + 1) + dx + lateral is the mean over c of now[y, x] before[y + dy, x + dx]; beyond the map
    is 0. Each row is multiplied with all rows in reach as one matrix; the diagonals are the shifts, read by shearing.
    """
    if now.requires_grad or before.requires_grad:
        with torch.autocast(now.device.type, enabled=False):
            found: Tensor = _Correlation.apply(now.float(), before.float(), axial, lateral)
        return found
    n, _, h, w = now.shape
    reach, wide = 2 * axial + 1, w + 2 * lateral
    products = torch.matmul(*_operands(now, before, axial, lateral)).reshape(n, h, w * reach * wide)
    sheared = functional.pad(products, (0, w)).reshape(n, h, w, reach * wide + 1)[..., :-1]
    chosen = sheared.reshape(n, h, w, reach, wide)[..., : 2 * lateral + 1]
    return chosen.permute(0, 3, 4, 1, 2).reshape(n, reach * (2 * lateral + 1), h, w)


def _operands(now: Tensor, before: Tensor, axial: int, lateral: int) -> tuple[Tensor, Tensor]:
    """[n, h, w, c] and [n, h, c, reach * wide]: every row of ``now``, and the rows of ``before`` in its reach, side by side."""
    c, h = now.shape[1:3]
    padded = functional.pad(before, (lateral, lateral, axial, axial)).permute(0, 2, 1, 3)
    rows = torch.cat([padded[:, dy : dy + h] for dy in range(2 * axial + 1)], 3)
    return (now * (1 / c)).permute(0, 2, 3, 1), rows


class _Correlation(torch.autograd.Function):
    """The same with a gradient that shears back through strides: autograd's own way through pads and slices takes twice as long."""

    @staticmethod
    def forward(ctx: Any, now: Tensor, before: Tensor, axial: int, lateral: int) -> Tensor:
        mine, rows = _operands(now, before, axial, lateral)
        ctx.save_for_backward(mine, rows)
        ctx.reach = axial, lateral
        n, _, h, w = now.shape
        return _diagonals(torch.matmul(mine, rows), axial, lateral).permute(0, 3, 4, 1, 2).reshape(n, -1, h, w)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        mine, rows = ctx.saved_tensors
        axial, lateral = ctx.reach
        n, h, w, c = mine.shape
        reach, wide = 2 * axial + 1, w + 2 * lateral
        products = gradients[0].new_zeros(n, h, w, reach * wide)
        _diagonals(products, axial, lateral).copy_(gradients[0].reshape(n, reach, -1, h, w).permute(0, 3, 4, 1, 2))
        to_mine = torch.matmul(products, rows.transpose(2, 3)).permute(0, 3, 1, 2) * (1 / c)
        to_rows = torch.matmul(mine.transpose(2, 3), products).reshape(n, h, c, reach, wide)
        padded = gradients[0].new_zeros(n, h + 2 * axial, c, wide)
        for dy in range(reach):
            padded[:, dy : dy + h] += to_rows[:, :, :, dy]
        return to_mine, padded[:, axial : axial + h, :, lateral : lateral + w].permute(0, 2, 1, 3), None, None


def _diagonals(products: Tensor, axial: int, lateral: int) -> Tensor:
    """The shifts [n, h, w, 2 axial + 1, 2 lateral + 1] in products [n, h, w, reach * wide], as a view."""
    n, h, w, across = products.shape
    wide, block = w + 2 * lateral, w * across
    return products.as_strided((n, h, w, 2 * axial + 1, 2 * lateral + 1), (h * block, block, across + 1, wide, 1))
