"""How simulated images compare with real ones: texture in the plane, and what is left of it from frame to frame.

Images are high-passed with a Gaussian of 5 pixels of 0.108 mm. Reference values were measured on the leg adaptation pieces
(reference: learning trials) and hold for images of that pixel size only.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, pad

from edge.motion.accuracy import Matrices

REAL_AXIAL, REAL_LATERAL = (0.70, 0.28, 0.03), (0.92, 0.76, 0.60)  # autocorrelation at 1, 2, 3 pixels
# Frames apart. The trials do not say on which pairs; zero_shift() itself finds 0.63 and 0.23 on the adaptation pieces.
REAL_ZERO_SHIFT = {1: 0.57, 3: 0.30}
DISTANCES_MM = (0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 1.8, 2.5, 4.0)
REAL_PEAK = (0.71, 0.70, 0.70, 0.65, 0.62, 0.52, 0.48, 0.42, 0.39)
PATCH, REACH = 24, (8, 14)  # pixels; search axially, laterally
FAR_MM = 0.6  # lateral motion from which tissue itself leaves nothing at zero shift


def smoothed(images: Tensor, sd: float) -> Tensor:
    """[n, H, W] behind a Gaussian of ``sd`` pixels."""
    reach = int(3 * sd)
    kernel = torch.exp(-torch.arange(-reach, reach + 1, dtype=torch.float32).square() / (2 * sd**2))
    kernel = (kernel / kernel.sum())[None, None]
    for _ in range(2):
        rows = pad(images.reshape(-1, 1, images.shape[-1]), (reach, reach), mode="replicate")
        images = conv1d(rows, kernel).reshape(images.shape).transpose(-1, -2)
    return images


def high_passed(images: NDArray[np.uint8]) -> Tensor:
    """Images [n, H, W] less their smooth part."""
    grey = torch.as_tensor(images, dtype=torch.float32)
    return grey - smoothed(grey, 5)


def textured(images: NDArray[np.uint8], high: Tensor) -> Tensor:
    """Where speckle can be measured, bool [n, H, W]: neither black, white nor across a bright edge, and below the skin."""
    level = smoothed(torch.as_tensor(images, dtype=torch.float32), 8)
    found = (level > 40) & (level < 200) & (smoothed(high.square(), 8) < 25**2)
    found[:, :50] = False
    return found


def autocorrelation(high: Tensor, mask: Tensor, rows: int, columns: int) -> float:
    """Of texture with itself, ``rows`` and ``columns`` pixels away."""
    height, width = high.shape[1:]
    first, second = np.s_[:, : height - rows, : width - columns], np.s_[:, rows:, columns:]
    both = mask[first] & mask[second]
    a, b = high[first][both], high[second][both]
    return float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())


def zero_shift(high: Tensor, chain: Matrices, apart: int) -> list[float]:
    """Mean correlation of patches at the same place, of each pair ``apart`` frames that moved :data:`FAR_MM` or more laterally."""
    found = []
    for i in range(len(high) - apart):
        if abs((np.linalg.inv(chain[i]) @ chain[i + apart])[0, 3]) >= FAR_MM:
            a, b = _patches(high[i]), _patches(high[i + apart])
            found.append(float(((a * b).sum((1, 2)) / (a.square().sum((1, 2)) * b.square().sum((1, 2)) + 1e-3).sqrt()).mean()))
    return found


def peaks(high: Tensor, chain: Matrices, random: np.random.Generator, pairs: int = 2) -> list[tuple[float, float]]:
    """(elevational distance in mm, mean peak correlation of patches) of random pairs 1 to 6 frames apart."""
    found = []
    for apart in (1, 1, 2, 3, 4, 6):
        for i in random.choice(len(high) - apart, min(pairs, len(high) - apart), replace=False):
            distance = abs((np.linalg.inv(chain[i]) @ chain[i + apart])[2, 3])
            found.append((float(distance), peak_correlation(high[i], high[i + apart])))
    return found


def peak_correlation(a: Tensor, b: Tensor) -> float:
    """The highest correlation of each patch of ``a`` [H, W] within its surroundings in ``b``; mean over patches."""
    (down, aside), (height, width) = REACH, a.shape
    corners = [(y, x) for y in range(down, height - PATCH - down, PATCH) for x in range(aside, width - PATCH - aside, PATCH)]
    patches = torch.stack([a[y : y + PATCH, x : x + PATCH] for y, x in corners])
    around = torch.stack([b[y - down : y + PATCH + down, x - aside : x + PATCH + aside] for y, x in corners])
    patches = patches - patches.mean((1, 2), keepdim=True)
    patches = patches / patches.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-3)
    ones, groups = torch.ones(len(corners), 1, PATCH, PATCH), len(corners)
    product = conv2d(around[None], patches[:, None], groups=groups)
    total, squares = (conv2d(v[None], ones, groups=groups) for v in (around, around.square()))
    correlation = product / (squares - total.square() / PATCH**2).clamp(min=1e-3).sqrt()
    return float(correlation[0].flatten(1).amax(1).mean())


def _patches(image: Tensor) -> Tensor:
    height, width = (n // PATCH * PATCH for n in image.shape)
    patches = image[:height, :width].unfold(0, PATCH, PATCH).unfold(1, PATCH, PATCH).reshape(-1, PATCH, PATCH)
    return patches - patches.mean((1, 2), keepdim=True)
