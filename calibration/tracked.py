"""Tracked sweeps as chains of motion: what every calibration and every measure of accuracy starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.files import open_sweep
from edge.messages import Geometry
from edge.motion.accuracy import CANONICAL_SIGN, Matrices, chain_of_poses, steps_of
from edge.motion.cadence import bmode_frames
from edge.motion.recorded import NotTracked, check_tracked
from edge.transform import Transform

__all__ = ["NotTracked", "TrackedSweep", "read_tracked"]


@dataclass(frozen=True)
class TrackedSweep:
    """``chain`` [n, 4, 4] CenterToFirst of the frames with a pose; ``adjacent`` [n - 1]: no B-mode frame is missing between two.

    ``timestamps_ns`` [n] of the probe's clock. Width and height in pixels, ``spacing_mm`` (lateral, axial), as placed.
    """

    path: Path
    chain: Matrices
    adjacent: NDArray[np.bool_]
    timestamps_ns: NDArray[np.int64]
    width: int
    height: int
    spacing_mm: tuple[float, float]

    @property
    def steps(self) -> NDArray[np.float64]:
        """Relative motions [k, 6] (mm, rad) between frames that follow each other directly."""
        return steps_of(self.chain)[self.adjacent]

    @property
    def canonical_steps(self) -> NDArray[np.float64]:
        """As ``steps``, mirrored where the sweep goes backward, so that the mean elevational step is 0 or more."""
        steps = self.steps
        return steps * CANONICAL_SIGN if steps[:, 2].mean() < 0 else steps


def read_tracked(path: Path, plus_config: Path | None = None, probe: Path | None = None) -> TrackedSweep:
    """The B-mode poses of a sweep file; ``NotTracked`` where no two frames with a tracked pose follow each other.

    ``plus_config`` or ``probe``: what holds ImageToProbe, for sweeps with tracker transforms only.
    """
    poses: list[Transform] = []
    geometries: list[Geometry] = []
    times_ns: list[int] = []
    follows: list[bool] = []  # the B-mode frame directly before has a pose too
    posed = False
    for frame, elapsed, _ in bmode_frames(open_sweep(path, plus_config=plus_config, probe=probe).frames()):
        check_tracked(path, frame)
        before, posed = posed, frame.pose is not None
        if (pose := frame.pose) is not None:
            poses.append(pose)
            geometries.append(frame.geometry)
            times_ns.append(frame.timestamp_ns)
            follows.append(before and elapsed == 1)
    adjacent = np.array(follows[1:], bool)
    if not adjacent.any():
        raise NotTracked(f"{path}: no two frames with a pose follow each other; give a sweep of a tracked probe")
    geometry = geometries[0]
    if any(other != geometry for other in geometries):
        raise NotTracked(f"{path}: depth or image size changes within the sweep; give sweeps of one setting")
    if geometry.kind != "linear":
        raise NotTracked(f"{path}: comes from a convex probe, which cannot be calibrated with yet; give a linear probe's sweep")
    width, height = geometry.width, geometry.height
    return TrackedSweep(
        path=path,
        chain=chain_of_poses(poses, width, height, geometry.spacing_mm),
        adjacent=adjacent,
        timestamps_ns=np.array(times_ns),
        width=width,
        height=height,
        spacing_mm=geometry.spacing_mm,
    )
