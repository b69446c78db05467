"""What scanner and operator do to images: memory of the frames before, a probe that lifts off, shadows that fall from the surface.

All act on whole sequences uint8 [frames, H, W] of one sweep. Motion stays what it is, but for a grabber.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, grid_sample

from edge.motion.accuracy import chain_of_steps, steps_of
from export.training.sweeps import TrainingSweep, Windows

Random = np.random.Generator
Frame = Any  # an array or a tensor: both add and multiply
CONTRAST, BLACK = 14, 6  # grey values: the standard deviation of speckle; below the second there is none
SHADE = 45  # mean grey that a shadow does not reach
DARKEST = 150  # grey values that full loss takes: 35 dB of 60


def remembered(windows: Windows, random: Random) -> Windows:
    """A scanner's persistence, drawn at random: each frame keeps a share of the one shown before it, or is the mean of the last few.

    Recursive averaging of grey values is what the real frames at hand show (zero-shift correlation 0.57 after 1 frame, 0.30 after 3).
    """
    share = random.uniform(0.1, 0.7) if random.random() < 0.85 else 0.0
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

    To be given before the scanner's memory, as a receiver's noise is.
    """
    return _disturbed(windows, _grain(windows.shape, random), random.uniform(0, 0.5))


def cluttered(windows: Windows, random: Random) -> Windows:
    """Correlation that no motion explains: reverberation that stays with the probe and slowly becomes another, up to 30 % of speckle's
    variance. In the leg's adaptation pieces frames 8 apart still correlate by .08 at no shift, wherever the probe went.
    """
    clutter, keeps = _grain(windows.shape, random), np.float32(random.uniform(0.75, 0.97))
    for before, now in pairwise(clutter):
        now *= np.sqrt(1 - keeps**2)
        now += keeps * before
    return _disturbed(windows, clutter, random.uniform(0, 0.3))


def structured(windows: Windows, motion: NDArray[np.floating], spacing_mm: tuple[float, float], random: Random) -> Windows:
    """Tissue of uneven brightness along the path: blobs, or layers and vessels with edges where the unevenness is steep.

    Structure decorrelates more slowly than speckle, and how slowly differs from tissue to tissue: a network must not tell steps by it.
    ``motion`` [n - 1, 6] mm and rad, of the window's centre.
    """
    height, width = windows.shape[1:]
    chain = torch.from_numpy(chain_of_steps(np.asarray(motion, np.float64))).float()
    u, v = ((torch.arange(n) - (n - 1) / 2) * spacing for n, spacing in zip((width, height), spacing_mm, strict=True))
    plane = torch.stack([*torch.meshgrid(u, v, indexing="xy"), torch.zeros(height, width)], -1)
    points = torch.einsum("nij,hwj->nhwi", chain[:, :3, :3], plane) + chain[:, None, None, :3, 3]
    size = random.uniform(1.2, 5)
    cell = torch.tensor([size * random.uniform(0.7, 3), size, random.lognormal(2.2, 0.7)], dtype=torch.float32)  # mm
    low, high = points.amin((0, 1, 2)) - cell, points.amax((0, 1, 2)) + cell
    cells = ((high - low) / cell).ceil().int() + 1
    field = torch.from_numpy(random.standard_normal((1, 1, *cells.flip(0).tolist()), np.float32))
    grid = (points - low) / (cell * (cells - 1)) * 2 - 1
    shape = grid_sample(field, grid[None], align_corners=True)[0, 0].numpy()
    steep, grey = random.uniform(0.3, 6), random.uniform(4, 40)
    around = avg_pool2d(torch.from_numpy(np.ascontiguousarray(windows)).float()[:, None], 9, 1, 4, count_include_pad=False)[:, 0].numpy()
    seen = np.clip((around - SHADE) / SHADE, 0, 1)  # a shadow shows no structure
    shown = windows + np.float32(grey) * np.tanh(np.float32(steep) * shape) * seen
    return np.where(windows < BLACK, windows, np.clip(np.rint(shown), 0, 255)).astype(np.uint8)


def _grain(shape: tuple[int, ...], random: Random) -> NDArray[np.float32]:
    """Noise [n, H, W] of unit variance as fine as speckle, independent from frame to frame."""
    noise = random.standard_normal(shape, np.float32)
    for axis, width in ((1, random.uniform(0.4, 0.8)), (2, random.uniform(0.6, 1.3))):  # pixels: standard deviation of its grain
        kernel = np.exp(-0.5 * (np.arange(-3, 4) / width) ** 2)
        kernel = (kernel / np.sqrt((kernel**2).sum())).astype(np.float32)
        noise = sum(weight * np.roll(noise, shift, axis) for weight, shift in zip(kernel, range(-3, 4), strict=True))
    return noise


def _disturbed(windows: Windows, noise: NDArray[np.float32], share: float) -> Windows:
    """With ``noise`` of unit variance, which becomes ``share`` of all; where there is no echo there is none of it."""
    shown = windows + noise * np.float32(CONTRAST * np.sqrt(share / (1 - share)))
    return np.where(windows < BLACK, windows, np.clip(np.rint(shown), 0, 255)).astype(np.uint8)


def grabbed(sweep: TrainingSweep, random: Random, shortest: int) -> TrainingSweep:
    """As a grabber with a rate of its own sees a scanner: the newest image at each grab, with the pose and the time of the grab.

    So the images go on by one, two, one, two of the scanner's while the poses go on evenly: on the leg's pieces the correlation of
    neighbouring frames alternates between .9 and .7, and tracked steps do not. At least ``shortest`` frames remain.
    """
    count = len(sweep)
    rate = random.uniform(1.1, 1.7)  # images of the scanner per grab
    times = np.arange(random.random(), count - 1, rate)
    if len(times) < shortest:
        return sweep
    before = times.astype(int)
    chain = chain_of_steps(sweep.motion.astype(np.float64))
    poses = np.stack(
        [chain[i] @ chain_of_steps((at - i) * sweep.motion[i : i + 1].astype(np.float64))[1] for at, i in zip(times, before, strict=True)]
    )
    clock = np.concatenate([[0.0], np.cumsum(sweep.intervals)])
    return replace(
        sweep,
        windows=sweep.windows[before],
        motion=steps_of(poses).astype(np.float32),
        intervals=(np.diff(np.interp(times, np.arange(count), clock)) / rate).astype(np.float32),
    )


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
