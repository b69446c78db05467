"""Non-linear least squares in a few lines: Levenberg-Marquardt with numeric derivatives, optionally robust against outliers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_ROUNDS = 100
SETTLED = 1e-12  # relative fall of the sum of squares
STEP = 1e-6
HUBER_SIGMAS = 2.0


def minimised(residuals: Callable[[Floats], Floats], start: Floats, *, robust: bool = False) -> Floats:
    """The parameters [p] near ``start`` with the least sum of squares of ``residuals(parameters)``.

    ``robust``: residuals beyond two standard deviations (of the median absolute deviation at each round) count by their size and
    not by its square. Parameters are of the order of 1: scale them.
    """
    at, damping = np.array(start, np.float64), 1e-3
    left = residuals(at).ravel()
    for _ in range(MOST_ROUNDS):
        weight = _weights(left) if robust else np.ones_like(left)
        jacobian = np.stack(
            [(residuals(at + step).ravel() - residuals(at - step).ravel()) / (2 * STEP) for step in STEP * np.eye(len(at))], 1
        )
        normal, gradient = (jacobian.T * weight) @ jacobian, (jacobian.T * weight) @ left
        cost = float(weight @ left**2)
        fall = 0.0
        for _ in range(12):
            scale = np.diag(normal) + 1e-12 * np.trace(normal)
            trial = at - np.linalg.solve(normal + damping * np.diag(scale), gradient)
            found = residuals(trial).ravel()
            fall = cost - float(weight @ found**2)
            if fall >= 0:
                at, left, damping = trial, found, damping / 10
                break
            damping *= 10
        if fall <= SETTLED * cost:
            break
    return at


def _weights(left: Floats) -> Floats:
    sigma = 1.4826 * np.median(np.abs(left)) + 1e-12
    return np.asarray(np.minimum(1.0, HUBER_SIGMAS * sigma / np.maximum(np.abs(left), 1e-12)))
