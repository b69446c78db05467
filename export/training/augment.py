"""What happens to images between a probe and skin: a probe that lifts off, and shadows that fall from the surface.

Both only take light away, and act on whole sequences uint8 [frames, H, W] of one sweep. Motion stays what it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Random = np.random.Generator
Windows = NDArray[np.uint8]
DARKEST = 150  # grey values that full loss takes: 35 dB of 60


def lifted(windows: Windows, random: Random) -> Windows:
    """The probe loses contact over part of its width, from one side, for part of the sequence."""
    frames, _, width = windows.shape
    column = np.arange(width)[None, :] / width
    column = 1 - column if random.random() < 0.5 else column
    first, length = random.uniform(-0.3, 0.9) * frames, random.uniform(0.2, 1.0) * frames
    time = np.clip((np.arange(frames) - first) / length, 0, 1)
    reach = random.uniform(0.1, 0.7) * np.sin(np.pi * time)[:, None]  # share of the width
    loss = 1 / (1 + np.exp(np.clip((column - reach) / 0.015, -30, 30))) * (reach > 0)
    return _darkened(windows, loss[:, None, :] * random.uniform(0.5, 1))


def shadowed(windows: Windows, random: Random) -> Windows:
    """A dark stripe that hangs from a depth, fixed to the probe or wandering across it."""
    frames, height, width = windows.shape
    middle = random.uniform(0, width) + random.normal(0, 1.0) * np.arange(frames)[:, None]
    half, edge = random.uniform(0.02, 0.15) * width, random.uniform(1, 6)
    aside = np.abs(np.arange(width)[None, :] - middle) - half
    across = 1 / (1 + np.exp(np.clip(aside / edge, -30, 30)))
    below = 1 / (1 + np.exp(np.clip((random.uniform(0, 0.7) * height - np.arange(height)) / random.uniform(1, 8), -30, 30)))
    return _darkened(windows, across[:, None, :] * below[None, :, None] * random.uniform(0.2, 1))


def _darkened(windows: Windows, loss: NDArray[np.float64]) -> Windows:
    """Less grey by ``loss`` 0..1 of :data:`DARKEST`; broadcasts against [frames, H, W]."""
    taken = (loss * DARKEST).astype(np.uint8)
    return np.asarray(windows - np.minimum(windows, taken))
