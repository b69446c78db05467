"""The sweep that a network is trained on: windows and true motion in memory, and as one compact file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.atomic import replacing
from edge.errors import SonosweepError
from edge.motion.accuracy import CANONICAL_SIGN, Matrices, chain_of_steps, steps_of

Motion = NDArray[np.float32]
Windows = NDArray[np.uint8]
HELD_OUT_SEED = 9_000_000  # from here on seeds belong to the sweeps that networks are judged by


class BadTrainingSweep(SonosweepError):
    """A file or an array is not a sweep that can be trained on."""


@dataclass(frozen=True)
class Window:
    """What a network sees: ``height`` (axial) x ``width`` (lateral) pixels of ``spacing_mm`` (lateral, axial)."""

    width: int = 192
    height: int = 192
    spacing_mm: tuple[float, float] = (0.267, 0.225)

    @property
    def center_below_edge_mm(self) -> float:
        """How far the window's centre lies below the image's top edge."""
        return self.height * self.spacing_mm[1] / 2


@dataclass(frozen=True)
class TrainingSweep:
    """``windows`` uint8 [n, H, W]; ``motion`` float32 [n - 1, 6]: mm and rad about the window's centre, in canonical direction.

    ``motion[i]`` is CenterToPreviousCenter of window i + 1. ``spacing_mm`` (lateral, axial) of the windows. ``intervals`` [n - 1]:
    the time before window i + 1 over the usual one (``edge.motion.intervals``); all 1 where they are not given. ``persists``: the
    scanner's memory is in the windows, as in every recorded sweep.
    """

    windows: Windows
    motion: Motion
    spacing_mm: tuple[float, float]
    name: str
    frames_per_s: float = 0.0  # 0: not known
    intervals: Motion = field(default_factory=lambda: np.ones(0, np.float32))
    persists: bool = True

    def __post_init__(self) -> None:
        if not len(self.intervals):
            object.__setattr__(self, "intervals", np.ones(len(self.motion), np.float32))
        if (
            self.windows.ndim != 3
            or self.windows.dtype != np.uint8
            or not (self.motion.shape == (len(self.windows) - 1, 6) and self.intervals.shape == (len(self.motion),))
        ):
            raise BadTrainingSweep(
                f"{self.name}: windows {self.windows.dtype} {self.windows.shape} and motion {self.motion.shape} do not belong "
                "together; n windows [n, H, W] of uint8 have n - 1 motions of 6 values"
            )

    @classmethod
    def of_chain(
        cls, windows: Windows, chain: Matrices, window: Window, name: str, frames_per_s: float, intervals: Motion | None = None
    ) -> TrainingSweep:
        """From poses [n, 4, 4] of the window's centre, in canonical direction."""
        times = np.ones(len(windows) - 1, np.float32) if intervals is None else intervals
        return cls(windows, canonical(steps_of(chain)), window.spacing_mm, name, frames_per_s, times)

    def __len__(self) -> int:
        return len(self.windows)


def canonical(motion: NDArray[np.floating]) -> Motion:
    """Motion [n, 6] of one piece, reflected through the image plane where its mean elevational step is negative."""
    sign = CANONICAL_SIGN if len(motion) and motion[:, 2].mean() < 0 else np.ones(6)
    return (motion * sign).astype(np.float32)


def reversed_motion(motion: NDArray[np.floating]) -> Motion:
    """The motion [n, 6] of the same frames in the opposite order, canonical again."""
    chain = chain_of_steps(np.asarray(motion, np.float64))
    return canonical(steps_of(np.linalg.inv(chain[-1]) @ chain[::-1]))


def skipped_motion(motion: NDArray[np.floating], kept: NDArray[np.integer]) -> Motion:
    """The motion [k - 1, 6] between the frames ``kept`` [k] (rising indices) of a sweep whose every step is ``motion`` [n - 1, 6]."""
    chain = chain_of_steps(np.asarray(motion, np.float64))[kept]
    return steps_of(chain).astype(np.float32)


def save_training_sweep(path: Path, sweep: TrainingSweep) -> None:
    """Write ``sweep`` to ``path`` (.npz, not compressed: speckle does not shrink), whole or not at all."""
    with replacing(path) as out:
        np.savez(
            out,
            windows=sweep.windows,
            motion=sweep.motion,
            spacing_mm=np.array(sweep.spacing_mm),
            frames_per_s=np.array(sweep.frames_per_s),
            intervals=sweep.intervals,
            persists=np.array(sweep.persists),
            name=np.array(sweep.name),
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The arrays in ``path`` by name, read when they are asked for."""
    try:
        with np.load(path, allow_pickle=False) as held:
            yield held
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as wrong:
        raise BadTrainingSweep(f"{path}: is not a training sweep ({wrong}); `sonosweep export source` writes them") from wrong


def load_training_sweep(path: Path) -> TrainingSweep:
    """The sweep in ``path``; ``BadTrainingSweep`` where the file is none."""
    with _opened(path) as held:
        lateral, axial = held["spacing_mm"].tolist()
        name, frames_per_s, persists = str(held["name"]), float(held["frames_per_s"]), bool(held["persists"])
        return TrainingSweep(held["windows"], held["motion"], (lateral, axial), name, frames_per_s, held["intervals"], persists)


def load_motion(path: Path) -> Motion:
    """The motion [n - 1, 6] of the sweep in ``path`` without its windows; ``BadTrainingSweep`` where the file is none."""
    with _opened(path) as held:
        return np.asarray(held["motion"], np.float32)
