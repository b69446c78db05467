"""A tracked sweep seen by sources of motion that may not look at its poses: true and estimated paths of the same frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.files import open_sweep
from edge.messages import Frame, Geometry
from edge.motion import MotionSource, Step
from edge.motion.accuracy import CANONICAL_SIGN, Matrices, chain_of_poses, chain_of_steps, steps_of
from edge.motion.cadence import bmode_frames
from edge.motion.recorded import check_tracked
from edge.placed_images import placed_images
from edge.reconstructor import MAX_BRIDGED_FRAMES
from edge.scan_geometry import placed_size
from edge.transform import motion_parameters

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

    ``elapsed`` [n - 1]: B-mode frames from each to the next, with the lost ones and those without a pose; light does not count.
    ``watched_index`` [n]: how many B-mode frames, with a pose or without, the sources had seen before each.
    ``size`` (columns, rows) of the placed image. ``ended``: why the frames after the last one do not count, empty where all do.
    """

    path: Path
    sequences: NDArray[np.int64]
    timestamps_ns: NDArray[np.int64]
    elapsed: NDArray[np.int64]
    watched_index: NDArray[np.int64]
    true: Matrices
    estimates: dict[str, Estimate]
    geometry: Geometry
    size: tuple[int, int]
    ended: str = ""
    plus_config: Path | None = None
    probe: Path | None = None

    @property
    def direction(self) -> str:
        """``+`` or ``-``, from the tracked poses: the sign of the mean elevational step."""
        return "-" if steps_of(self.true)[:, 2].mean() < 0 else "+"

    @property
    def canonical_steps(self) -> Floats:
        """The tracked steps [n - 1, 6], mirrored where the sweep goes backward."""
        return Estimate(steps_of(self.true), np.zeros(())).turned(self.direction).steps


def watch(path: Path, sources: Mapping[str, MotionSource], plus_config: Path | None = None, probe: Path | None = None) -> Watched:
    """Show every B-mode frame of the file's first sweep to every source. ``NothingToCompare`` names what it lacks.

    ``plus_config`` or ``probe``: what holds ImageToProbe, for sweeps with tracker transforms only.
    """
    seen: list[Frame] = []  # without their pixels
    at: list[int] = []  # of each, in B-mode frames since the first
    said: dict[str, list[Step]] = {name: [] for name in sources}
    ended = ""
    followed: dict[tuple[int, int, int], tuple[int, int]] = {}
    for frame, image in placed_images(_noted(open_sweep(path, plus_config=plus_config, probe=probe).frames(), followed)):
        check_tracked(path, frame)
        elapsed, gap = followed.pop((*frame.sweep_key, frame.sequence))
        if seen and frame.sweep_key != seen[0].sweep_key:
            ended = f"frame {frame.sequence} begins another sweep; only the first is compared"
        elif gap > MAX_BRIDGED_FRAMES:
            ended = f"{gap} frames are missing before frame {frame.sequence}: there the sweep ends, as on the device"
        if ended:
            break
        for name, source in sources.items():
            said[name].append(source.step(frame, image, elapsed) if seen else source.start(frame, image))
        at.append(at[-1] + elapsed if seen else 0)
        seen.append(msgspec.structs.replace(frame, pixels=np.zeros((0, 0), np.uint8)))
    return replace(_compared(path, seen, at, said, ended), plus_config=plus_config, probe=probe)


def _noted(frames: Iterator[Frame], followed: dict[tuple[int, int, int], tuple[int, int]]) -> Iterator[Frame]:
    """The B-mode frames; how each follows the one before is written down by sweep and sequence."""
    for frame, elapsed, widest_gap in bmode_frames(frames):
        boot_id, sweep = frame.sweep_key
        followed[boot_id, sweep, frame.sequence] = elapsed, widest_gap
        yield frame


def _compared(path: Path, seen: list[Frame], at: list[int], said: Mapping[str, list[Step]], ended: str) -> Watched:
    tracked = [index for index, frame in enumerate(seen) if frame.pose is not None]
    if len(tracked) < 2:
        raise NothingToCompare(f"{path}: {len(tracked)} of {len(seen)} B-mode frames have a pose; give a tracked sweep")
    frames = [seen[index] for index in tracked]
    geometry = frames[0].geometry
    size = placed_size(geometry)
    poses = [frame.pose for frame in frames if frame.pose is not None]
    return Watched(
        path=path,
        sequences=np.array([frame.sequence for frame in frames]),
        timestamps_ns=np.array([frame.timestamp_ns for frame in frames]),
        elapsed=np.diff(np.array(at)[tracked]),
        watched_index=np.array(tracked),
        true=chain_of_poses(poses, *size, geometry.spacing_mm),
        estimates={name: _estimate(steps, tracked) for name, steps in said.items()},
        geometry=geometry,
        size=size,
        ended=ended,
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
