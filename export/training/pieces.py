"""From tracked frames to training sweeps: the window's own poses, and pieces that go one way, because speckle cannot tell which."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge.motion.accuracy import Matrices, steps_of
from export.training.sweeps import Motion, TrainingSweep, Window, Windows

SHORTEST = 3  # frames
RETURN_MM = 3.0  # a probe that goes back by this much has turned round


def window_chain(chain: Matrices, height: int, axial_mm: float, window: Window) -> Matrices:
    """From the chain [n, 4, 4] of an image's centre (``height`` rows of ``axial_mm``) to that of the window's centre."""
    shift = np.eye(4)
    shift[1, 3] = window.center_below_edge_mm - height * axial_mm / 2
    return np.asarray(np.linalg.inv(shift) @ chain @ shift)


def turning_points(elevational_mm: NDArray[np.floating]) -> list[int]:
    """Frames at which a sweep turns round, given where along it each frame lies [n]: extremes it leaves by :data:`RETURN_MM`."""
    turns: list[int] = []
    lowest = highest = 0
    direction = 0
    for i, place in enumerate(elevational_mm):
        highest = i if place > elevational_mm[highest] else highest
        lowest = i if place < elevational_mm[lowest] else lowest
        if direction >= 0 and elevational_mm[highest] - place >= RETURN_MM:
            turns += [highest] if direction else []
            direction, lowest = -1, i
        elif direction <= 0 and place - elevational_mm[lowest] >= RETURN_MM:
            turns += [lowest] if direction else []
            direction, highest = 1, i
    return turns


def pieces_of(
    windows: Windows, chain: Matrices, window: Window, name: str, frames_per_s: float, intervals: Motion | None = None
) -> list[TrainingSweep]:
    """Canonical sweeps of one direction each out of windows [n, H, W] and the chain [n, 4, 4] of the window's centre."""
    along = np.concatenate([[0.0], np.cumsum(steps_of(chain)[:, 2])])
    times = np.ones(len(windows) - 1, np.float32) if intervals is None else intervals
    edges = [0, *turning_points(along), len(windows) - 1]
    sweeps = []
    for number, (first, last) in enumerate(pairwise(edges)):
        piece = slice(first, last + 1)
        if last - first + 1 >= SHORTEST:
            part = f"{name}_{number}" if len(edges) > 2 else name
            sweeps.append(TrainingSweep.of_chain(windows[piece], chain[piece], window, part, frames_per_s, times[first:last]))
    return sweeps
