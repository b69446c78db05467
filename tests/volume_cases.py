"""Frames, poses and dense comparisons for the tests of the volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.compounding import Compounder


def pose(
    rotation_rad: tuple[float, float, float] = (0.0, 0.0, 0.0),
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    pixel_mm: tuple[float, float] = (0.5, 0.5),
    towards: int = 2,
) -> NDArray[np.float64]:
    """ImageToReference; ``towards`` 2 looks along z, 0 and 1 turn the axes round by one and two places."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(rotation_rad), np.sin(rotation_rad)
    turn = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn = turn @ np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([*pixel_mm, 1.0])
    matrix[:3, 3] = origin_mm
    return np.asarray(matrix[[*np.roll(range(3), 2 - towards), 3]])


def sweep(
    seed: int, count: int = 6, step_mm: float = 0.4, shape: tuple[int, int] = (34, 45), towards: int = 2
) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Noise, the hardest image to interpolate, along a shaky path that starts below 0 on every axis."""
    random = np.random.default_rng(seed)
    frames = []
    for n in range(count):
        origin = np.array([-3.3, -2.1, -1.7 + n * step_mm]) + random.normal(0, 0.1, 3)
        matrix = pose(tuple(random.normal(0, 0.03, 3)), tuple(origin), (0.3, 0.25), towards)
        frames.append((random.integers(0, 256, shape, dtype=np.uint8), matrix))
    return frames


def everything(volume: Compounder, channel: int = 0) -> dict[tuple[int, ...], tuple[bytes, bytes]]:
    """All bricks by coordinates, but those without a voxel."""
    bricks = volume.bricks(volume.slots(channel), channel)
    rows = zip(bricks.coordinates.tolist(), bricks.intensity, bricks.state, strict=True)
    return {tuple(at): (intensity.tobytes(), state.tobytes()) for at, intensity, state in rows if state.any()}


def on_grid(
    volume: Compounder, first: tuple[int, int, int], shape: tuple[int, int, int], channel: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Intensity and state [i, j, k] on the box of ``shape`` voxels that starts at voxel ``first``; the volume must lie inside."""
    dense = volume.dense(channel)
    start = np.round(dense.origin_mm / dense.spacing_mm).astype(int) - np.array(first)
    assert (start >= 0).all() and (start + dense.state.shape[::-1] <= shape).all(), "the volume is larger than its test expects"
    window = tuple(slice(a, a + n) for a, n in zip(start, dense.state.shape[::-1], strict=True))
    intensity, state = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    intensity[window], state[window] = dense.intensity.transpose(2, 1, 0), dense.state.transpose(2, 1, 0)
    return intensity, state
