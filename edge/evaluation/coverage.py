"""Does a network know what it does not know: how many errors lie within the intervals that its deviations promise."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.evaluation.measures import DEGREES_OF_FREEDOM
from edge.evaluation.watch import Estimate, Floats
from edge.motion.accuracy import Matrices, steps_of
from edge.motion.card import ErrorMemory
from edge.motion.uncertainty import USUAL, place_deviations

INTERVALS = {"68": 1.0, "95": 1.96}  # name by the share of a normal distribution, and its deviations


def coverage(true: Matrices, turned: Estimate, memory: ErrorMemory | None) -> dict[str, Any] | None:
    """Percent of errors within the 68 % and 95 % intervals; None where the estimate states no deviations.

    ``step``: of all parameters of all steps; ``steps``: of each parameter. ``position``: of the centre's place along the three axes
    of the first image, in every frame but the first. ``error_to_deviation``: root mean square of error / deviation by parameter.
    """
    known = np.isfinite(turned.deviations).all(1)
    if not known.any():
        return None
    errors = normalised_errors(true, turned)[known]
    answer = {
        "step": _within(errors),
        "steps": {name: _within(column) for name, column in zip(DEGREES_OF_FREEDOM, errors.T, strict=True)},
        "position": None,
        "error_to_deviation": dict(zip(DEGREES_OF_FREEDOM, np.sqrt((errors**2).mean(0)).tolist(), strict=True)),
    }
    if known.all():
        chain = turned.chain
        apart = (chain - true)[1:, :3, 3]
        answer["position"] = _within(apart / place_deviations(chain, turned.deviations, memory or USUAL))
    return answer


def normalised_errors(true: Matrices, turned: Estimate) -> Floats:
    """Error of each step's parameters over its stated deviation [n - 1, 6]; NaN where none is stated."""
    return np.asarray((turned.steps - steps_of(true)) / np.maximum(turned.deviations, 1e-12))


def _within(errors: Floats) -> dict[str, float]:
    return {name: 100 * float((np.abs(errors) <= width).mean()) for name, width in INTERVALS.items()}
