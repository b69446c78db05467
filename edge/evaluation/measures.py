"""All measures of one estimated path against the tracked one. Chains, steps and points are those of ``edge.motion.accuracy``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.motion.accuracy import Matrices, accuracy, pieces, point_error, steps_of

DEGREES_OF_FREEDOM = ("tx", "ty", "tz", "rx", "ry", "rz")
UNITS = np.array([1.0, 1.0, 1.0, *[180 / np.pi] * 3])  # mm and radians to mm and degrees
STILL = 1e-9  # mm, rad: steps that vary by less are a constant, and a constant has no correlation
Six = tuple[float, float, float, float, float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """None where a measure does not exist: pieces of a short sweep, landmarks of a sweep without any, correlation of a constant.

    ``final_drift``: distance of the last frame's true and estimated centre; over the length of the true path, or (MoGLo's authors)
    over the distance of its ends. ``piece_``: the mean of the same over all pieces of 50 steps, one starting every 10 frames.
    ``average_drift``: the mean over all frames but the first; its rate is over the path up to that frame. ``hausdorff_mm``: of the
    two paths of the centre as sets of points. ``lpe``/``gpe`` (``lle``/``gle`` at landmarks) by TUS-REC: mean distance of an
    image's points, placed from the frame before / from the first. ``relative_error`` and ``accumulated_error``: mean absolute
    error of each parameter (mm, degrees) of the steps / of the pose in the first image. ``correlation``: Pearson, of the steps.
    """

    frames: int
    path_mm: float
    end_to_end_mm: float
    final_drift_mm: float
    final_drift_rate_percent: float
    final_drift_rate_end_to_end_percent: float | None
    piece_drift_mm: float | None
    piece_drift_rate_percent: float | None
    piece_drift_rate_end_to_end_percent: float | None
    average_drift_mm: float
    average_drift_rate_percent: float
    hausdorff_mm: float
    lpe_mm: float
    gpe_mm: float
    lle_mm: float | None
    gle_mm: float | None
    relative_error: dict[str, float]
    accumulated_error: dict[str, float]
    correlation: dict[str, float | None]


def measure(true: Matrices, estimated: Matrices, points: Floats, landmarks: tuple[NDArray[np.intp], Floats] | None = None) -> Measures:
    """Compare two chains of the same frames on ``points`` [m, 3] of every image (Center, mm).

    ``landmarks``: index of the frame in the chain [k] and the point in its image [k, 3] (Center, mm). ``TooShort`` without movement.
    """
    whole = accuracy(true, estimated, points)
    centre, found = true[:, :3, 3], estimated[:, :3, 3]
    drift = np.linalg.norm(centre - found, axis=1)[1:]
    walked = np.cumsum(np.linalg.norm(np.diff(centre, axis=0), axis=1))
    moved = walked > 0
    ends = float(np.linalg.norm(centre[-1] - centre[0]))
    short = [_final(*piece) for piece in pieces(true, estimated)]
    at_landmarks = _landmark_errors(true, estimated, *landmarks) if landmarks is not None and len(landmarks[0]) else (None, None)
    true_steps, found_steps = steps_of(true), steps_of(estimated)
    absolute = [np.abs(_wrapped(a - b)).mean(0) for a, b in ((true_steps, found_steps), (_places(true), _places(estimated)))]
    return Measures(
        frames=whole.frames,
        path_mm=whole.path_mm,
        end_to_end_mm=ends,
        final_drift_mm=whole.final_drift_mm,
        final_drift_rate_percent=whole.final_drift_rate_percent,
        final_drift_rate_end_to_end_percent=100 * whole.final_drift_mm / ends if ends > 0 else None,
        piece_drift_mm=_mean([drift for drift, _, _ in short]),
        piece_drift_rate_percent=_mean([100 * drift / path for drift, path, _ in short]),
        piece_drift_rate_end_to_end_percent=_mean([100 * drift / apart for drift, _, apart in short if apart > 0]),
        average_drift_mm=float(drift.mean()),
        average_drift_rate_percent=float((100 * drift[moved] / walked[moved]).mean()),
        hausdorff_mm=hausdorff_mm(centre, found),
        lpe_mm=whole.lpe_mm,
        gpe_mm=whole.gpe_mm,
        lle_mm=at_landmarks[0],
        gle_mm=at_landmarks[1],
        relative_error=_named(absolute[0] * UNITS),
        accumulated_error=_named(absolute[1] * UNITS),
        correlation=correlation(true_steps, found_steps),
    )


def correlation(true: Floats, estimated: Floats) -> dict[str, float | None]:
    """Pearson's correlation of each parameter of the steps [n, 6]; None where one of the two does not vary."""
    answer: dict[str, float | None] = {}
    for name, a, b in zip(DEGREES_OF_FREEDOM, true.T, estimated.T, strict=True):
        a, b = a - a.mean(), b - b.mean()
        varies = len(a) > 1 and min(a.std(), b.std()) > STILL
        answer[name] = float((a * b).mean() / (a.std() * b.std())) if varies else None
    return answer


def hausdorff_mm(a: Floats, b: Floats) -> float:
    """The symmetric Hausdorff distance of two sets of points [n, 3]: how far the loneliest point of either is from the other set."""
    apart = np.stack([np.linalg.norm(point - b, axis=1) for point in a])
    return float(max(apart.min(0).max(), apart.min(1).max()))


def average(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every measure over sweeps, nested ones as well; None where no sweep has it."""
    answer: dict[str, Any] = {}
    for name in measured[0]:
        values = [one[name] for one in measured if one[name] is not None]
        if values and isinstance(values[0], dict):
            answer[name] = average(values)
        else:
            answer[name] = _mean(values)
    return answer


def _final(true: Matrices, estimated: Matrices) -> tuple[float, float, float]:
    """Final drift, length of the path and distance of its ends of a piece, mm; a piece that never moved has no rate (NaN)."""
    path = float(np.linalg.norm(np.diff(true[:, :3, 3], axis=0), axis=1).sum())
    ends = float(np.linalg.norm(true[-1, :3, 3] - true[0, :3, 3]))
    return float(np.linalg.norm(true[-1, :3, 3] - estimated[-1, :3, 3])), path or float("nan"), ends


def _landmark_errors(true: Matrices, estimated: Matrices, frames: NDArray[np.intp], points: Floats) -> tuple[float | None, float | None]:
    """LLE and GLE: the first frame is known, so its landmarks do not count."""
    later = frames > 0
    if not later.any():
        return None, None
    frames, points = frames[later], points[later]
    local = [np.linalg.inv(chain[frames - 1]) @ chain[frames] for chain in (true, estimated)]
    return tuple(  # type: ignore[return-value]
        float(np.mean([point_error(a[None], b[None], p[None]) for a, b, p in zip(*pair, points, strict=True)]))
        for pair in (local, [true[frames], estimated[frames]])
    )


def _places(chain: Matrices) -> Floats:
    """Parameters [n - 1, 6] of every pose but the first in the first image."""
    return np.concatenate([steps_of(np.stack([np.eye(4), pose])) for pose in chain[1:]])


def _wrapped(difference: Floats) -> Floats:
    """Angles (the last three columns) the short way round."""
    difference = difference.copy()
    difference[:, 3:] = (difference[:, 3:] + np.pi) % (2 * np.pi) - np.pi
    return difference


def _named(values: Floats) -> dict[str, float]:
    return dict(zip(DEGREES_OF_FREEDOM, values.tolist(), strict=True))


def _mean(values: list[float]) -> float | None:
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else None
