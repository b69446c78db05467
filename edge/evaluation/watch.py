"""A tracked sweep seen by sources of motion that may not look at its poses: true and estimated paths of the same frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.compounding import VolumeSettings, open_compounder
from edge.errors import SonosweepError
from edge.files import open_sweep
from edge.messages import Frame, Geometry
from edge.motion import MotionSource, Step
from edge.motion.accuracy import CANONICAL_SIGN, Matrices, chain_of_poses, chain_of_steps, steps_of
from edge.motion.source import Image
from edge.reconstructor import MAX_BRIDGED_FRAMES, Reconstructor, placed_size
from edge.transform import Transform, motion_parameters

Floats = NDArray[np.float64]


class NothingToCompare(SonosweepError):
    """A sweep has no tracked poses, or too few frames, to measure an estimate with."""


@dataclass(frozen=True)
class Estimate:
    """Canonical motion of one source between the compared frames: ``steps`` [n - 1, 6] (mm, rad).

    ``deviations`` [n - 1, 6]: their standard deviations as the source gives them, NaN where it gives none.
    """

    steps: Floats
    deviations: Floats

    def turned(self, direction: str) -> Estimate:
        """In the sweep's own direction, ``+`` or ``-``."""
        return Estimate(self.steps * CANONICAL_SIGN, self.deviations) if direction == "-" else self

    @property
    def chain(self) -> Matrices:
        """The path that the steps make."""
        return chain_of_steps(self.steps)


@dataclass(frozen=True)
class Watched:
    """The frames of a sweep that have a pose: n of them. ``true`` is their chain [n, 4, 4], ``estimates`` what each source said.

    ``size`` (columns, rows) of the placed image. ``ended``: why the frames after the last one do not count, empty where all do.
    """

    path: Path
    sequences: NDArray[np.int64]
    timestamps_ns: NDArray[np.int64]
    true: Matrices
    estimates: dict[str, Estimate]
    geometry: Geometry
    size: tuple[int, int]
    ended: str = ""

    @property
    def direction(self) -> str:
        """``+`` or ``-``, from the tracked poses: the sign of the mean elevational step."""
        return "-" if steps_of(self.true)[:, 2].mean() < 0 else "+"

    @property
    def canonical_steps(self) -> Floats:
        """The tracked steps [n - 1, 6], mirrored where the sweep goes backward."""
        return Estimate(steps_of(self.true), np.zeros(())).turned(self.direction).steps


@dataclass
class _Witness:
    """Sits where a source of motion sits, so that it sees the very images that are placed; gives no pose, so that none is placed."""

    sources: Mapping[str, MotionSource]
    name: str = "witness"
    relative: bool = False
    backend: str = ""
    ended: str = ""
    seen: list[tuple[Frame, Transform | None]] = field(default_factory=list)  # without their pixels
    steps: dict[str, list[Step]] = field(default_factory=dict)

    def start(self, frame: Frame, image: Image) -> Step:
        """As every other frame: the reconstructor begins anew until a frame has a pose."""
        return self.step(frame, image, 1)

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """Ask every source."""
        if frame.modality != "bmode" or self.ended:
            return Step(reason="not compared")
        elapsed = frame.sequence - self.seen[-1][0].sequence if self.seen else 0
        if elapsed > 1 + MAX_BRIDGED_FRAMES:
            self.ended = f"{elapsed - 1} frames are missing before frame {frame.sequence}: there the sweep ends, as on the device"
            return Step(reason="not compared")
        for name, source in self.sources.items():
            said = source.step(frame, image, elapsed) if self.seen else source.start(frame, image)
            self.steps.setdefault(name, []).append(said)
        self.seen.append((_without_pixels(frame), frame.pose))
        return Step(reason="not compared")


def watch(path: Path, sources: Mapping[str, MotionSource]) -> Watched:
    """Show every B-mode frame of the sweep to every source. ``NothingToCompare`` names the sweep and what it lacks."""
    witness = _Witness(sources)
    with open_compounder("host", VolumeSettings(), 1) as compounder:
        reconstructor = Reconstructor(witness, compounder, say_bricks=False)
        key = None
        for frame in open_sweep(path).frames():
            if key not in (None, frame.sweep_key):
                witness.ended = f"frame {frame.sequence} begins another sweep; only the first is compared"
                break
            key = frame.sweep_key
            reconstructor.feed(frame)
    return _compared(path, witness)


def _compared(path: Path, witness: _Witness) -> Watched:
    tracked = [index for index, (_, pose) in enumerate(witness.seen) if pose is not None]
    if len(tracked) < 2:
        raise NothingToCompare(
            f"{path}: {len(tracked)} of {len(witness.seen)} B-mode frames have a pose; give the sweep of a tracked probe"
        )
    frames = [witness.seen[index][0] for index in tracked]
    geometry = frames[0].geometry
    size = placed_size(geometry)
    poses = [pose for _, pose in witness.seen if pose is not None]
    return Watched(
        path=path,
        sequences=np.array([frame.sequence for frame in frames]),
        timestamps_ns=np.array([frame.timestamp_ns for frame in frames]),
        true=chain_of_poses(poses, *size, geometry.spacing_mm),
        estimates={name: _estimate(steps, tracked) for name, steps in witness.steps.items()},
        geometry=geometry,
        size=size,
        ended=witness.ended,
    )


def _estimate(said: list[Step], tracked: list[int]) -> Estimate:
    """The motion between tracked frames; over frames without a pose the steps are joined, and their uncertainty is not known."""
    steps = np.array([motion_parameters(step.center_to_previous) for step in said[1:] if step.center_to_previous is not None])
    deviations = np.array([step.uncertainty or (np.nan,) * 6 for step in said[1:]])
    if len(tracked) == len(said):
        return Estimate(steps, deviations)
    alone = np.diff(tracked) == 1
    kept = np.where(alone[:, None], deviations[np.array(tracked[1:]) - 1], np.nan)
    return Estimate(steps_of(chain_of_steps(steps)[tracked]), kept)


def _without_pixels(frame: Frame) -> Frame:
    return msgspec.structs.replace(frame, pixels=np.zeros((0, 0), np.uint8))
