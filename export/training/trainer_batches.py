"""Batches out of sweeps in memory: random short sequences, mirrored, reversed, with frames left out, brighter and darker."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.training.data import NoTrainingSweeps
from export.training.sweeps import TrainingSweep, reversed_motion, skipped_motion

MIRROR = np.array([-1, 1, 1, 1, -1, -1], np.float32)  # of the six motion parameters where left and right change places


class Variation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done to a sequence: ``mirrored``, ``reversed`` and ``skipping`` are the shares of sequences it is done to.

    A sequence that skips leaves out frames as a device that loses some: each step goes over one frame more with ``skips``.
    Gain in grey values, contrast as a factor; both standard deviations.
    """

    mirrored: float = 0.5
    reversed: float = 0.0  # a scanner's persistence has a direction in time
    skipping: float = 0.1
    skips: float = 0.3
    gain: float = 6.0
    contrast: float = 0.06


class SweepBatches:
    """Draws sequences from ``sweeps``, each sweep as often as it has places for one."""

    def __init__(self, sweeps: Sequence[TrainingSweep], variation: Variation | None = None) -> None:
        if not sweeps:
            raise NoTrainingSweeps("there are no sweeps to train on; name a folder that `sonosweep export source` wrote")
        self.sweeps, self._variation = list(sweeps), variation or Variation()

    def __call__(self, rng: np.random.Generator, count: int, frames: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As :class:`export.training.trainer.Batches`. ``NoTrainingSweeps`` where every sweep is shorter than ``frames``."""
        places = np.array([max(len(sweep) - frames + 1, 0) for sweep in self.sweeps])
        if not places.any():
            raise NoTrainingSweeps(f"no sweep has the {frames} frames of a training sequence; give longer sweeps or a shorter sequence")
        chosen = rng.choice(len(places), count, p=places / places.sum())
        drawn = [self._sequence(self.sweeps[i], int(places[i]), frames, rng) for i in chosen]
        return np.stack([windows for windows, _ in drawn])[:, :, None], np.stack([motion for _, motion in drawn])

    def _sequence(
        self, sweep: TrainingSweep, places: int, frames: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        how, steps = self._variation, np.ones(frames - 1, np.int64)
        if rng.random() < how.skipping:
            steps += rng.random(frames - 1) < how.skips
            steps = steps if steps.sum() < len(sweep) else np.ones(frames - 1, np.int64)
        length = int(steps.sum()) + 1
        first = int(rng.integers(max(min(places, len(sweep) - length + 1), 1)))
        windows, motion = sweep.windows[first : first + length], sweep.motion[first : first + length - 1]
        if rng.random() < how.reversed:
            windows, motion = windows[::-1], reversed_motion(motion)
        if length > frames:
            kept = np.concatenate([[0], np.cumsum(steps)])
            windows, motion = windows[kept], skipped_motion(motion, kept)
        if rng.random() < how.mirrored:
            windows, motion = windows[:, :, ::-1], motion * MIRROR
        table = np.arange(256) + how.gain * rng.standard_normal()
        table = np.clip(128 + (table - 128) * np.exp(how.contrast * rng.standard_normal()), 0, 255)
        return np.rint(table).astype(np.uint8)[windows], motion
