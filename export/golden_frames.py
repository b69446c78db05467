"""Images for a golden sequence: out of a sweep, or drawn like speckle where no sweep may be shared."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.files import open_sweep
from edge.motion.card import Card
from edge.motion.golden import FEWEST_FRAMES
from edge.motion.resample import Resampler


class NoGoldenFrames(SonosweepError):
    """A sweep gives no golden sequence."""


def frames_of_sweep(path: Path, card: Card, count: int) -> NDArray[np.uint8]:
    """The first ``count`` B-mode images in the card's window, uint8 [n, height, width]."""
    resample = Resampler(card.image.width, card.image.height, card.image.spacing_mm)
    chosen = list(islice((f for f in open_sweep(path).frames() if f.modality == "bmode"), count))
    if len(chosen) < FEWEST_FRAMES:
        raise NoGoldenFrames(f"{path}: has {len(chosen)} B-mode frames; a golden sequence takes {FEWEST_FRAMES} or more")
    if any(f.pixels.dtype != np.uint8 or f.geometry.kind != "linear" for f in chosen):
        raise NoGoldenFrames(f"{path}: is not an 8-bit sweep of a linear probe; give another, or --golden random")
    return np.stack([np.rint(resample(f.pixels, f.geometry.spacing_mm)).astype(np.uint8) for f in chosen])


def random_frames(card: Card, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth speckle that decorrelates from image to image, uint8 [n, height, width]. The same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    shape = (2, card.image.height, card.image.width)
    field, images = rng.standard_normal(shape), []
    for step in np.linspace(0.2, 0.6, count):  # steps differ, so that a network that averages them all is found out
        smooth = field
        for axis in (1, 2):
            smooth = (np.roll(smooth, -1, axis) + smooth + np.roll(smooth, 1, axis)) / 3
        envelope = np.hypot(*smooth)
        decibels = 20 * np.log10(np.maximum(envelope / envelope.max(), 1e-3))
        images.append(np.clip(255 * (1 + decibels / 60), 0, 255).astype(np.uint8))
        field = np.sqrt(1 - step**2) * field + step * rng.standard_normal(shape)
    return np.stack(images)
