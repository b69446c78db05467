"""What speckle says of motion, measured and not learned: how alike patches of two frames are, over shifts, times apart and scales.

Two frames' speckle correlates less the further the probe moved across the image plane (Chen et al., IEEE TUFFC 44, 1997), and most
at the shift that it moved by in the plane. A scanner's persistence shows as correlation that does not move; frames further apart
are free of it.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

CELLS = 8  # patches along a side


class Band(NamedTuple):
    """One scale: image pixels in one of its own (axial, lateral), shifts to either side, and how many frames apart."""

    pixels: tuple[int, int]
    reach: tuple[int, int]
    lags: tuple[int, ...]
    floor: float  # of a local variance in (grey / 255)^2: below it an area is empty


# Speckle itself, over 0.45 mm axially and 1.3 mm laterally; and the structure behind it, over 0.9 mm and 3.2 mm.
BANDS = Band((1, 1), (2, 5), (1, 2, 3, 4), 1e-4), Band((2, 4), (2, 3), (1, 2, 4), 3e-4)
OF_ITSELF = BANDS[0].reach  # a frame with itself says how large its speckle is; the other half of the shifts mirrors this one
MEASURES = 2  # mean grey and contrast of each patch
NEIGHBOURS = 9  # pixels of a band whose mean is taken away and whose contrast is made one


def shift_grid(reach: tuple[int, int], half: bool = False) -> tuple[int, int]:
    """Rows (axial) and columns (lateral) of shifts; ``half``: axial shifts of 0 and more only."""
    axial, lateral = reach
    return axial + 1 if half else 2 * axial + 1, 2 * lateral + 1


GRIDS = (shift_grid(OF_ITSELF, True), *(shift_grid(band.reach) for band in BANDS for _ in band.lags))
CHANNELS = sum(rows * columns for rows, columns in GRIDS) + MEASURES
LATEST = max(lag for band in BANDS for lag in band.lags)


def box(length: int, size: int) -> Tensor:
    """[length, length]: mean over ``size`` neighbours along one axis, over fewer at the edges."""
    at = torch.arange(length)
    share = ((at[:, None] - at[None, :]).abs() <= size // 2).float()
    return share / share.sum(1, keepdim=True)


def surfaces(now: Tensor, before: Tensor, reach: tuple[int, int], half: bool = False) -> Tensor:
    """Mean of now[y, x] before[y + dy, x + dx] over each cell, for images now [n, h, w] beside each of before [n, frames, h, w]:
    [n, frames * shifts, CELLS, CELLS].

    Shifts in rows of equal dy, see :func:`shift_grid`; before is 0 beyond its edge. Each cell's rows are multiplied with the rows
    in reach as matrices; the diagonals of the products are the shifts, read by shearing.
    """
    n, frames, h, w = before.shape
    (axial, lateral), (count, across) = reach, shift_grid(reach, half)
    tall, wide = h // CELLS, w // CELLS
    long = wide + 2 * lateral
    padded = functional.pad(before, (lateral, lateral, axial, axial))
    columns = torch.stack([padded[..., x : x + long] for x in range(0, w, wide)], 2)  # n, frames, CELLS across, h + 2 axial, long
    nearby = torch.arange(h)[:, None] + torch.arange(2 * axial + 1 - count, 2 * axial + 1)  # of each row, those in reach
    theirs = columns.index_select(3, nearby.flatten().to(before.device)).reshape(n, frames, CELLS, CELLS, tall, count * long)
    mine = now.reshape(n, 1, CELLS, tall, CELLS, wide).permute(0, 1, 4, 2, 5, 3)
    products = torch.matmul(mine, theirs).reshape(-1, wide * count * long)
    sheared = functional.pad(products, (0, wide)).reshape(-1, wide, count * long + 1)[..., :-1]
    chosen = sheared.reshape(-1, wide, count, long)[..., :across].sum(1) * (1 / (tall * wide))
    return chosen.reshape(n, frames, CELLS, CELLS, count * across).permute(0, 1, 4, 3, 2).reshape(n, -1, CELLS, CELLS)


class Evidence(nn.Module):
    """Frames to bands, bands to evidence [n, CHANNELS, CELLS, CELLS] within about -1 to 1. Nothing in it is learned."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        for i, band in enumerate(BANDS):
            self.register_buffer(f"rows{i}", box(height // band.pixels[0], NEIGHBOURS), persistent=False)
            self.register_buffer(f"columns{i}", box(width // band.pixels[1], NEIGHBOURS).T.contiguous(), persistent=False)

    def bands(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Frames [n, h, w] (grey 0..255) as each band sees them, local mean taken away and local contrast made one, and the
        measures [n, MEASURES, CELLS, CELLS]. Log-compressed grey loses its gain with the mean, its dynamic range with the contrast.
        """
        grey, seen, contrast = frames * (1 / 255), [], frames
        for i, band in enumerate(BANDS):
            rows, columns = self.get_buffer(f"rows{i}"), self.get_buffer(f"columns{i}")
            image = functional.avg_pool2d(grey[:, None], band.pixels)[:, 0] if band.pixels != (1, 1) else grey
            detail = image - rows @ image @ columns
            variance = rows @ (detail * detail) @ columns
            seen.append(detail * torch.rsqrt(variance + band.floor))
            contrast = variance if not i else contrast
        return seen, torch.stack([_cell_mean(grey), _cell_mean(contrast).sqrt() * 4], 1)

    def compare(self, now: list[Tensor], before: list[Tensor], measures: Tensor) -> Tensor:
        """Bands [n, h, w] of frames beside those ``lags`` before them [n, lags, h, w]: their evidence."""
        found = [surfaces(image, earlier, band.reach) for band, image, earlier in zip(BANDS, now, before, strict=True)]
        return torch.cat([surfaces(now[0], now[0][:, None], OF_ITSELF, half=True), *found, measures], 1)

    def forward(self, frames: Tensor) -> Tensor:
        """All frames [t, h, w] of one sweep, each beside those before it; before the first frame there is the first frame."""
        bands, measures = self.bands(frames)
        at, found = torch.arange(len(frames), device=frames.device), []
        for part in at.split(4):  # more fall out of a core's cache
            before = [torch.stack([image[(part - lag).clamp(0)] for lag in band.lags], 1) for band, image in zip(BANDS, bands, strict=True)]
            found.append(self.compare([image[part] for image in bands], before, measures[part]))
        return torch.cat(found)


def mirrored(evidence: Tensor) -> Tensor:
    """The evidence [..., CHANNELS, CELLS, CELLS] of the same frames with left and right exchanged."""
    return evidence.flip(-1).index_select(-3, torch.tensor(_mirrored_channels(), device=evidence.device))


@cache
def _mirrored_channels() -> list[int]:
    """Where each channel's mirror image stands: lateral shifts the other way round, measures as they are."""
    order, first = [], 0
    for rows, columns in GRIDS:
        order += [first + row * columns + column for row in range(rows) for column in reversed(range(columns))]
        first += rows * columns
    return [*order, *range(first, CHANNELS)]


def _cell_mean(image: Tensor) -> Tensor:
    n, h, w = image.shape
    return image.reshape(n, CELLS, h // CELLS, CELLS, w // CELLS).mean((2, 4))
