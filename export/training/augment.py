"""What scanner and operator do to images: memory of the frames before, a probe that lifts off, shadows that fall from the surface.

All act on whole sequences uint8 [frames, H, W] of one sweep. Motion stays what it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Random = np.random.Generator
Windows = NDArray[np.uint8]
Frame = Any  # an array or a tensor: both add and multiply
CONTRAST, BLACK = 14, 6  # grey values: the standard deviation of speckle; below the second there is none
DARKEST = 150  # grey values that full loss takes: 35 dB of 60


def remembered(windows: Windows, random: Random) -> Windows:
    """A scanner's persistence, drawn at random: each frame keeps a share of the one shown before it, or is the mean of the last few.

    Recursive averaging of grey values is what the real frames at hand show (zero-shift correlation 0.57 after 1 frame, 0.30 after 3).
    """
    share = random.uniform(0.1, 0.65) if random.random() < 0.85 else 0.0
    count = int(random.integers(2, 5)) if random.random() < 0.15 else 0
    return np.asarray(np.rint(list(persisting(windows.astype(np.float32), share, count))), np.uint8)


def persisting(frames: Iterable[Frame], share: float, count: int = 0) -> Iterator[Frame]:
    """What a scanner shows of frames (arrays or tensors): ``share`` of the one shown before in each, or the mean of the last ``count``."""
    held: Frame | None = None
    last: deque[Frame] = deque(maxlen=count or 1)
    for frame in frames:
        last.append(frame)
        held = sum(last) / len(last) if count else (1 - share) * frame + share * (frame if held is None else held)
        yield held


def grainy(windows: Windows, random: Random) -> Windows:
    """Decorrelation that no motion explains: noise as fine as speckle and new in every frame, up to half of speckle's variance.

    To be given before the scanner's memory, as a receiver's noise is. On the leg's adaptation pieces, simulation along the tracked
    path is most like the real frames with 55 to 70 % noise and a persistence of 0.35 to 0.45.
    """
    share = random.uniform(0, 0.5)
    noise = random.standard_normal(windows.shape, np.float32)
    for axis, width in ((1, random.uniform(0.4, 0.8)), (2, random.uniform(0.6, 1.3))):  # pixels: standard deviation of its grain
        kernel = np.exp(-0.5 * (np.arange(-3, 4) / width) ** 2)
        kernel = (kernel / np.sqrt((kernel**2).sum())).astype(np.float32)
        noise = sum(weight * np.roll(noise, shift, axis) for weight, shift in zip(kernel, range(-3, 4), strict=True))
    shown = windows + noise * np.float32(CONTRAST * np.sqrt(share / (1 - share)))
    return np.where(windows < BLACK, windows, np.clip(np.rint(shown), 0, 255)).astype(np.uint8)


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


def cropped(windows: Windows, random: Random) -> Windows:
    """A smaller image than the window: nothing beyond its sides or below its end, as the window of a narrower probe is filled."""
    _, height, width = windows.shape
    aside = round(width * random.uniform(0, 0.25))
    below = round(height * random.uniform(0, 0.4)) if random.random() < 0.5 else 0
    seen = np.zeros_like(windows)
    part = np.s_[:, : height - below, aside : width - aside]
    seen[part] = windows[part]
    return seen


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
