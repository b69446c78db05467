"""Stated uncertainty of a place against what happens to many thousand paths with errors of known kind."""

from __future__ import annotations

import numpy as np
import pytest

from edge.evaluation.coverage import coverage
from edge.evaluation.watch import Estimate
from edge.motion.accuracy import chain_of_steps
from edge.motion.card import ErrorMemory, six
from edge.motion.uncertainty import USUAL, fit_memory, place_deviations

STEPS = np.tile([0.1, 0.0, 0.5, 0.004, -0.003, 0.01], (40, 1))
DEVIATIONS = np.tile([0.1, 0.05, 0.2, 0.002, 0.003, 0.004], (40, 1))
MEMORY = ErrorMemory(lasting=six([0.3] * 6), fading=six([0.7] * 6))


def errors(memory: ErrorMemory, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Unit errors [steps, 6] as alike as ``memory`` says."""
    lasting, fading = np.array(memory.lasting), np.array(memory.fading)
    passing = np.empty((steps, 6))
    passing[0] = rng.normal(size=6)
    for at in range(1, steps):
        passing[at] = fading * passing[at - 1] + np.sqrt(1 - fading**2) * rng.normal(size=6)
    return np.sqrt(lasting) * rng.normal(size=6) + np.sqrt(1 - lasting) * passing


@pytest.mark.parametrize("memory", [MEMORY, ErrorMemory(lasting=six([0] * 6), fading=six([0] * 6))])
def test_the_deviation_of_a_place_is_that_of_many_paths(memory):
    rng = np.random.default_rng(0)
    true = chain_of_steps(STEPS)
    ends = [chain_of_steps(STEPS + DEVIATIONS * errors(memory, 40, rng))[[10, 40], :3, 3] for _ in range(800)]
    found = place_deviations(true, DEVIATIONS, memory)[[9, 39]]
    assert found == pytest.approx(np.std(ends, 0), rel=0.12)


def test_errors_that_last_add_up_and_independent_ones_average_out():
    alike, apart = (
        place_deviations(chain_of_steps(STEPS * 0), DEVIATIONS, ErrorMemory(lasting=six([share] * 6), fading=six([0] * 6)))
        for share in (1, 0)
    )
    assert alike[-1] == pytest.approx(40 * DEVIATIONS[0, :3])
    assert apart[-1] == pytest.approx(np.sqrt(40) * DEVIATIONS[0, :3])


def test_the_memory_of_errors_is_found_again():
    rng = np.random.default_rng(1)
    found = fit_memory([3 * errors(MEMORY, 200, rng) for _ in range(60)])
    assert np.mean(found.lasting) == pytest.approx(0.3, abs=0.07)
    assert np.mean(found.fading) == pytest.approx(0.7, abs=0.07)
    assert fit_memory([np.zeros((3, 6))]) == USUAL, "too little to fit"


def test_honest_intervals_hold_what_they_promise():
    rng = np.random.default_rng(2)
    true = chain_of_steps(STEPS)
    found = []
    for _ in range(60):
        estimate = Estimate(STEPS + DEVIATIONS * errors(MEMORY, 40, rng), DEVIATIONS)
        found.append(coverage(true, estimate, MEMORY))
    for what in ("step", "position"):
        assert np.mean([one[what]["68"] for one in found]) == pytest.approx(68, abs=6)
        assert np.mean([one[what]["95"] for one in found]) == pytest.approx(95, abs=3)
    assert found[0]["error_to_deviation"]["tx"] == pytest.approx(1, abs=0.5)


def test_an_estimate_that_states_no_uncertainty_has_no_coverage():
    assert coverage(chain_of_steps(STEPS), Estimate(STEPS, np.full_like(STEPS, np.nan)), None) is None
