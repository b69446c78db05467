"""Batches out of sweeps: each sweep is varied as a whole and seen by the network once, then cut and mirrored at random."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import torch
from torch import Tensor

from export.networks.layers import MIRROR
from export.training.augment import cluttered, cropped, grabbed, grainy, lifted, remembered, shadowed, structured
from export.training.data import NoTrainingSweeps, Sweeps
from export.training.sweeps import TrainingSweep, reversed_motion, skipped_motion

FADING = 3  # first frames of a memory that began with nothing
BLOCK = 64 << 20  # bytes
FROM_START = 0.5  # share of sequences that begin where their sweep begins, as every sweep of a device does


class Variation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done to a sweep: ``mirrored`` to ``shadowed`` are the shares of sweeps (of sequences: ``mirrored``) it is done to.

    Only sweeps without a scanner's memory can be ``reversed``, for persistence has a direction in time; then they are given one.
    A sweep that skips leaves out frames as a device that loses some: up to ``skips`` of its steps go over one frame more, or two.
    Gain in grey values, contrast as a factor; both standard deviations.
    """

    mirrored: float = 0.5
    reversed: float = 0.5
    skipping: float = 0.4
    skips: float = 0.3
    structured: float = 0.4
    grainy: float = 0.6
    cluttered: float = 0.25
    grabbed: float = 0.4
    cropped: float = 0.3
    lifted: float = 0.05
    shadowed: float = 0.05
    gain: float = 6.0
    contrast: float = 0.06


class Sequences(NamedTuple):
    """What a network sees of ``count`` sequences [count, frames, ...], motions [count, frames - 1, 6] (mm, rad) and intervals
    [count, frames - 1] (over the usual one)."""

    seen: Tensor
    motion: Tensor
    intervals: Tensor

    def mixed_with(self, other: Sequences) -> Sequences:
        """Both, one behind the other."""
        return Sequences(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


class Sees(Protocol):
    """The part of a network that batches need."""

    def see(self, windows: Tensor) -> Tensor:
        """See ``export.networks.MotionNetwork``."""

    def mirrored(self, seen: Tensor) -> Tensor:
        """See ``export.networks.MotionNetwork``."""


class Shelf:
    """Keeps tensors in few large blocks, so that they do not lie scattered among arrays that come and go."""

    def __init__(self) -> None:
        self._block = torch.empty(0, dtype=torch.uint8)

    def room(self, like: Tensor, rows: int) -> Tensor:
        """A place for ``rows`` rows as those of ``like``; what is in it is not said."""
        count = rows * like[0].numel() * like.element_size()
        if count > len(self._block):
            self._block = torch.empty(max(count, BLOCK), dtype=torch.uint8)
        place, self._block = self._block[:count], self._block[-(-count // 64) * 64 :]
        return place.view(like.dtype).reshape(rows, *like.shape[1:])


class SweepBatches:
    """Draws sequences from ``sweeps``, each as often as it has steps. Of each, ``takes`` variations are seen and kept; at a share
    ``renewed`` of the draws another one is seen in place of the one that is kept, so that none is learned by heart."""

    def __init__(
        self,
        sweeps: Sweeps,
        network: Sees,
        variation: Variation | None = None,
        *,
        takes: int = 1,
        renewed: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._sweeps, self._network, self._variation = sweeps, network, variation or Variation()
        self._takes, self._renewed, self._seed = takes, renewed, seed
        self._steps = np.array([len(motion) for motion in sweeps.motions])
        self._kept: dict[tuple[int, int], Sequences] = {}
        self._rooms: dict[tuple[int, int], Sequences] = {}  # as long as the whole sweep: a variation is no longer
        self._seen: Counter[tuple[int, int]] = Counter()
        self._shelf = Shelf()

    def __call__(self, rng: np.random.Generator, count: int, frames: int) -> Sequences:
        """As :class:`export.training.trainer.Batches`. ``NoTrainingSweeps`` where every sweep is shorter than ``frames``."""
        steps = np.where(self._steps >= frames - 1, self._steps, 0)
        if not steps.any():
            raise NoTrainingSweeps(f"no sweep has the {frames} frames of a training sequence; give longer sweeps or a shorter sequence")
        drawn = [self._sequence(int(i), frames, rng) for i in rng.choice(len(steps), count, p=steps / steps.sum())]
        return Sequences(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))

    def _sequence(self, index: int, frames: int, rng: np.random.Generator) -> Sequences:
        take = self._take((index, int(rng.integers(self._takes))), frames, rng)
        places = len(take.seen) - frames + 1
        first = 0 if rng.random() < FROM_START else int(rng.integers(places))
        seen, motion = take.seen[first : first + frames], take.motion[first : first + frames - 1]
        if rng.random() < self._variation.mirrored:
            seen, motion = self._network.mirrored(seen), motion * torch.tensor(MIRROR)
        intervals = take.intervals[first : first + frames - 1]
        return Sequences(seen.clone(), motion.clone(), intervals.clone()) if self._renewed else Sequences(seen, motion, intervals)

    def _take(self, which: tuple[int, int], frames: int, rng: np.random.Generator) -> Sequences:
        """The variation that is kept, or the next one."""
        if which not in self._kept or (self._renewed and rng.random() < self._renewed):
            self._kept[which] = self._next(which, frames)
        return self._kept[which]

    def _next(self, which: tuple[int, int], frames: int) -> Sequences:
        """A variation that was not seen before: the same one after so many."""
        index, _ = which
        sweep = varied(self._sweeps[index], self._variation, np.random.default_rng((self._seed, *which, self._seen[which])), frames)
        self._seen[which] += 1
        seen = self._network.see(torch.from_numpy(np.ascontiguousarray(sweep.windows)))
        parts = seen, torch.from_numpy(sweep.motion), torch.from_numpy(sweep.intervals)
        if which not in self._rooms:
            longest = int(self._steps[index])
            self._rooms[which] = Sequences(
                *(self._shelf.room(part, n) for part, n in zip(parts, (longest + 1, longest, longest), strict=True))
            )
        return Sequences(*(room[: len(part)].copy_(part) for room, part in zip(self._rooms[which], parts, strict=True)))


def varied(sweep: TrainingSweep, how: Variation, rng: np.random.Generator, shortest: int = 2) -> TrainingSweep:
    """The sweep with frames left out (``shortest`` remain), the probe lifted, a shadow, other gain and contrast; or the way back."""
    windows, motion, intervals = sweep.windows, sweep.motion, sweep.intervals
    if rng.random() < how.reversed and not sweep.persists:
        windows, motion, intervals = windows[::-1], reversed_motion(motion), intervals[::-1]
    if rng.random() < how.skipping:
        over = 1 + (rng.random(len(motion)) < rng.uniform(0, how.skips)) * rng.choice([1, 1, 1, 2], len(motion))
        kept = np.concatenate([[0], np.cumsum(over)])
        kept = kept[kept < len(windows)]
        if len(kept) >= shortest + FADING:
            windows, motion = windows[kept], skipped_motion(motion, kept)
            intervals = np.add.reduceat(intervals[: kept[-1]], kept[:-1]).astype(np.float32)
    if rng.random() < how.structured:
        windows = structured(windows, motion, sweep.spacing_mm, rng)
    if rng.random() < how.grainy:
        windows = grainy(windows, rng)
    if rng.random() < how.cluttered:
        windows = cluttered(windows, rng)
    if not sweep.persists:
        windows, motion, intervals = remembered(windows, rng)[FADING:], motion[FADING:], intervals[FADING:]
    if rng.random() < how.grabbed:
        seen = grabbed(replace(sweep, windows=windows, motion=motion, intervals=intervals), rng, shortest)
        windows, motion, intervals = seen.windows, seen.motion, seen.intervals
    if rng.random() < how.lifted:
        windows = lifted(windows, rng)
    if rng.random() < how.shadowed:
        windows = shadowed(windows, rng)
    table = np.arange(256) + how.gain * rng.standard_normal()
    table = np.clip(128 + (table - 128) * np.exp(how.contrast * rng.standard_normal()), 0, 255)
    windows = np.rint(table).astype(np.uint8)[windows]
    if rng.random() < how.cropped:  # the last: nothing is seen there, whatever the gain
        windows = cropped(windows, rng)
    return TrainingSweep(
        windows, np.ascontiguousarray(motion), sweep.spacing_mm, sweep.name, sweep.frames_per_s, np.ascontiguousarray(intervals)
    )
