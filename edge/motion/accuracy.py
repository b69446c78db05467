"""How far estimated motion is from tracked motion, in the field's own measures, beside the baselines that need no network.

A *chain* is float64 [n, 4, 4]: CenterToFirst of every frame, the image centre's axes in those of the first image, in millimetres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.transform import Transform, image_to_center, motion, motion_parameters

Matrices = NDArray[np.float64]
CANONICAL_SIGN = np.array([1, 1, -1, -1, -1, 1])  # of the six motion parameters in the mirror of the image plane
PIECE_STEPS, PIECE_EVERY = 50, 10


class TooShort(SonosweepError):
    """A sweep has too few frames or too little movement to be measured."""


@dataclass(frozen=True)
class Accuracy:
    """``final_drift_mm``: distance of the last frame's true and estimated centre; its rate is over the path length of the true
    centre. ``lpe_mm`` / ``gpe_mm`` (TUS-REC): mean distance of a frame's points, placed from the frame before / from the first.
    """

    frames: int
    path_mm: float
    final_drift_mm: float
    final_drift_rate_percent: float
    lpe_mm: float
    gpe_mm: float


def chain_of_poses(poses: Sequence[Transform], width: int, height: int, spacing_mm: tuple[float, float]) -> Matrices:
    """The chain of ImageToReference poses of one image size; ``spacing_mm`` (lateral, axial)."""
    center_to_image = image_to_center(width, height, spacing_mm).inverse()
    chain = np.stack([(pose @ center_to_image).matrix for pose in poses])
    # What writers put into the third column differs (1, the spacing, 0): a rigid motion needs the plane's normal.
    normal = np.cross(chain[:, :3, 0], chain[:, :3, 1])
    chain[:, :3, 2] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.asarray(np.linalg.inv(chain[0]) @ chain)


def chain_of_steps(steps: NDArray[np.float64]) -> Matrices:
    """The chain of relative motions [n - 1, 6] (mm, rad; ``transform.motion``)."""
    chain = [np.eye(4)]
    for step in steps:
        chain.append(chain[-1] @ motion(step[:3], step[3:]).matrix)
    return np.stack(chain)


def steps_of(chain: Matrices) -> NDArray[np.float64]:
    """Relative motions [n - 1, 6] (mm, rad) of a chain."""
    relative = np.linalg.inv(chain[:-1]) @ chain[1:]
    relative[:, 3] = (0, 0, 0, 1)
    return np.array([motion_parameters(Transform("Center", "PreviousCenter", one)) for one in relative]).reshape(-1, 6)


def repeated(step: NDArray[np.float64], frames: int) -> Matrices:
    """The chain of a constant motion [6]; zeros give the baseline of no motion."""
    return chain_of_steps(np.tile(step, (frames - 1, 1)))


def grid(width: int, height: int, spacing_mm: tuple[float, float], per_side: int = 16) -> NDArray[np.float64]:
    """Points [per_side ** 2, 3] in Center: the middles of a raster over the image, a fair sample of all its pixels."""
    share = (np.arange(per_side) + 0.5) / per_side - 0.5
    x, y = np.meshgrid(share * width * spacing_mm[0], share * height * spacing_mm[1])
    return np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1)


def accuracy(true: Matrices, estimated: Matrices, points: NDArray[np.float64]) -> Accuracy:
    """Compare two chains of the same frames on ``points`` [m, 3] (Center, mm). ``TooShort`` without any movement."""
    if len(true) != len(estimated) or len(true) < 2:
        raise TooShort(f"two chains of the same two or more frames are compared, not of {len(true)} and {len(estimated)}")
    path_mm = float(np.linalg.norm(np.diff(true[:, :3, 3], axis=0), axis=1).sum())
    if path_mm <= 0:
        raise TooShort("the tracked probe did not move, so there is no drift rate; choose another sweep")
    drift_mm = float(np.linalg.norm(true[-1, :3, 3] - estimated[-1, :3, 3]))
    true_steps, estimated_steps = (np.linalg.inv(chain[:-1]) @ chain[1:] for chain in (true, estimated))
    return Accuracy(
        frames=len(true),
        path_mm=path_mm,
        final_drift_mm=drift_mm,
        final_drift_rate_percent=100 * drift_mm / path_mm,
        lpe_mm=point_error(true_steps, estimated_steps, points),
        gpe_mm=point_error(true[1:], estimated[1:], points),
    )


def pieces(true: Matrices, estimated: Matrices, length: int = PIECE_STEPS, every: int = PIECE_EVERY) -> Iterator[tuple[Matrices, Matrices]]:
    """All pieces of ``length`` steps of two chains, one starting ``every`` so many frames, each from its own first image."""
    for first in range(0, len(true) - length, every):
        piece = slice(first, first + length + 1)
        yield np.linalg.inv(true[first]) @ true[piece], np.linalg.inv(estimated[first]) @ estimated[piece]


def piece_drift_rate_percent(true: Matrices, estimated: Matrices, length: int = PIECE_STEPS, every: int = PIECE_EVERY) -> float:
    """The final drift rate averaged over all pieces of ``length`` steps, one starting ``every`` so many frames.

    One end point of one sweep says little; the mean over pieces says what drift to expect over such a stretch.
    """
    rates = [accuracy(*piece, np.zeros((1, 3))).final_drift_rate_percent for piece in pieces(true, estimated, length, every)]
    if not rates:
        raise TooShort(f"pieces of {length} steps need more than {len(true)} frames")
    return float(np.mean(rates))


def point_error(true: Matrices, estimated: Matrices, points: NDArray[np.float64]) -> float:
    """Mean distance (mm) of ``points`` [m, 3] placed by the poses [n, 4, 4] of one chain and of the other."""
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1)
    apart = (true - estimated)[:, :3] @ homogeneous.T
    return float(np.linalg.norm(apart, axis=1).mean())
