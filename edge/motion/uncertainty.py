"""How uncertain a place is after many uncertain steps: errors of steps that follow each other are alike, so they do not average out.

The error of each motion parameter, divided by its stated deviation, is taken as the sum of one part that lasts for the whole sweep
and one that fades from step to step: correlation over k steps = lasting + (1 - lasting) * fading ** k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.motion.card import ErrorMemory, six

Floats = NDArray[np.float64]
# What classical motion does on 13 tracked pieces of a leg, each measured with a curve of the 12 others: its 68 % and 95 % intervals of
# places then hold 68 % and 90 % of the errors.
USUAL = ErrorMemory(lasting=(0.12, 0.03, 0.10, 0.05, 0.03, 0.0), fading=(0.35, 0.0, 0.6, 0.45, 0.45, 0.65))
LONGEST_LAG = 40
_LASTING, _FADING = np.linspace(0, 0.95, 39), np.linspace(0, 0.97, 49)
FEWEST_PAIRS = 30  # of errors so many steps apart, for a lag to count


class PathUncertainty:
    """Covariance of the image centre's place in the first image, step by step: first order, from the steps' deviations.

    Constant work and memory per step, so that a live sweep can carry it.
    """

    def __init__(self, memory: ErrorMemory = USUAL) -> None:
        self._lasting, self._fading = np.array(memory.lasting), np.array(memory.fading)
        # Sums over the steps so far: translation, turn, and turn x place. What a later place inherits is linear in them.
        self._constant = np.zeros((6, 9))  # of each parameter's lasting part
        self._passing = np.zeros((9, 9))  # covariance of the fading parts
        self._with_last = np.zeros((6, 9))  # covariance with the last step's fading part

    def add(self, rotation_before: Floats, place_mm: Floats, deviations: Floats) -> Floats:
        """Covariance [3, 3] (mm^2) of ``place_mm`` [3], where the step led to; ``deviations`` [6] of the step (mm, rad).

        ``rotation_before`` [3, 3]: axes of the image before the step, in the first image.
        """
        turn = rotation_before.T  # row: an axis
        reach = np.zeros((6, 9))
        reach[:3, :3] = turn
        reach[3:, 3:6] = turn
        reach[3:, 6:] = np.cross(turn, place_mm)
        reach *= deviations[:, None]
        self._constant += reach * np.sqrt(self._lasting)[:, None]
        new = reach * np.sqrt(1 - self._lasting)[:, None]
        carried = self._with_last * self._fading[:, None]
        self._passing += carried.T @ new + new.T @ carried + new.T @ new
        self._with_last = carried + new
        x, y, z = place_mm
        across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        to_place = np.concatenate([np.eye(3), -across, -np.eye(3)], 1)
        return np.asarray(to_place @ (self._passing + self._constant.T @ self._constant) @ to_place.T)


def place_deviations(chain: Floats, deviations: Floats, memory: ErrorMemory = USUAL) -> Floats:
    """Standard deviations [n - 1, 3] (mm) of the centre's place along a chain [n, 4, 4], from those of its steps [n - 1, 6]."""
    path = PathUncertainty(memory)
    each = [path.add(before[:3, :3], after[:3, 3], one) for before, after, one in zip(chain, chain[1:], deviations, strict=False)]
    return np.sqrt(np.stack([np.diag(covariance) for covariance in each]))


def fit_memory(errors: Sequence[Floats]) -> ErrorMemory:
    """From errors of steps divided by their stated deviations, one array [n, 6] per sweep that the network never saw."""
    steps = sum(len(one) for one in errors)
    power = np.maximum(sum((one**2).sum(0) for one in errors) / max(steps, 1), 1e-12)
    lags, found, weight = [], [], []
    for lag in range(1, LONGEST_LAG + 1):
        pairs = sum(max(len(one) - lag, 0) for one in errors)
        if pairs < FEWEST_PAIRS:
            break
        lags.append(lag)
        weight.append(pairs)
        found.append(sum((one[lag:] * one[:-lag]).sum(0) for one in errors if len(one) > lag) / pairs / power)
    if not lags:
        return USUAL
    curves = _LASTING[:, None, None] + (1 - _LASTING[:, None, None]) * _FADING[None, :, None] ** np.array(lags)
    best = [
        np.unravel_index(int((((curves - row) ** 2) * np.array(weight)).sum(-1).argmin()), curves.shape[:2]) for row in np.array(found).T
    ]
    return ErrorMemory(lasting=six(_LASTING[[a for a, _ in best]]), fading=six(_FADING[[b for _, b in best]]))
