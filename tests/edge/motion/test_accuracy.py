"""Measures of accuracy on cases that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edge.motion.accuracy import (
    CANONICAL_SIGN,
    TooShort,
    accuracy,
    chain_of_poses,
    chain_of_steps,
    grid,
    piece_drift_rate_percent,
    repeated,
    steps_of,
)
from edge.transform import Transform, image_to_center, motion, motion_parameters

SIZE, SPACING = (101, 81), (0.2, 0.3)
POINTS = grid(*SIZE, SPACING)
FORWARD = np.array([0, 0, 0.5, 0, 0, 0.0])


def test_a_tenth_too_short_drifts_by_a_tenth():
    found = accuracy(repeated(FORWARD, 21), repeated(FORWARD * 0.9, 21), POINTS)
    assert found.frames == 21
    assert found.path_mm == pytest.approx(10)
    assert found.final_drift_mm == pytest.approx(1)
    assert found.final_drift_rate_percent == pytest.approx(10)
    assert found.lpe_mm == pytest.approx(0.05), "every step is 0.05 mm short"
    assert found.gpe_mm == pytest.approx(0.05 * 21 / 2), "0.05, 0.1 ... 1 mm: the mean of frames 2 to 21"


def test_no_motion_loses_the_whole_way_of_a_straight_sweep_and_less_of_a_bent_one():
    assert accuracy(repeated(FORWARD, 11), repeated(FORWARD * 0, 11), POINTS).final_drift_rate_percent == pytest.approx(100)
    corner = chain_of_steps(np.array([[3.0, 0, 0, 0, 0, 0], [0, 4.0, 0, 0, 0, 0]]))
    assert accuracy(corner, repeated(FORWARD * 0, 3), POINTS).final_drift_rate_percent == pytest.approx(100 * 5 / 7)


def test_a_turn_about_the_centre_moves_the_points_and_not_the_centre():
    turn, still = chain_of_steps(np.array([[0, 0, 1, 0, 0, 0.1]])), chain_of_steps(np.array([[0, 0, 1, 0, 0, 0.0]]))
    corner = np.array([[3.0, 4.0, 0.0]])
    found = accuracy(turn, still, corner)
    assert found.final_drift_mm == pytest.approx(0)
    assert found.lpe_mm == pytest.approx(2 * 5 * np.sin(0.05)), "the chord of the turn"


def test_a_perfect_estimate_has_no_error():
    rng = np.random.default_rng(0)
    chain = chain_of_steps(rng.normal(0, 0.3, (60, 6)))
    found = accuracy(chain, chain.copy(), POINTS)
    assert (found.final_drift_mm, found.lpe_mm, found.gpe_mm) == pytest.approx((0, 0, 0), abs=1e-12)
    assert piece_drift_rate_percent(chain, chain) == pytest.approx(0, abs=1e-9)


def test_steps_and_chains_are_inverse_to_each_other():
    steps = np.random.default_rng(1).normal(0, 0.2, (30, 6))
    assert np.allclose(steps_of(chain_of_steps(steps)), steps)


def test_a_chain_of_poses_is_rigid_whatever_the_third_column_holds():
    step = motion((0.1, 0.2, 0.5), (0.01, 0.02, 0.03))
    poses = []
    for matrix in (np.eye(4), step.matrix):
        pose = matrix @ image_to_center(*SIZE, SPACING).matrix
        pose[:3, 2] *= 0.2
        poses.append(Transform("Image", "Reference", pose))
    chain = chain_of_poses(poses, *SIZE, SPACING)
    assert np.allclose(chain, [np.eye(4), step.matrix])


def test_pieces_tell_of_drift_that_the_end_point_hides():
    there = np.tile(FORWARD, (60, 1))
    wrong = there.copy()
    wrong[:30, 2] *= 1.5
    wrong[30:, 2] *= 0.5
    true, estimated = chain_of_steps(there), chain_of_steps(wrong)
    assert accuracy(true, estimated, POINTS).final_drift_rate_percent == pytest.approx(0, abs=1e-9)
    assert piece_drift_rate_percent(true, estimated, length=30, every=30) == pytest.approx(50)


def test_the_mirror_in_the_image_plane_has_the_canonical_signs():
    step = motion((0.1, 0.2, 0.3), (0.01, 0.02, 0.03))
    assert np.allclose(motion_parameters(step.reflected()), motion_parameters(step) * CANONICAL_SIGN)


def test_points_sample_the_image_evenly():
    assert np.allclose(POINTS.mean(0), 0)
    assert POINTS[:, 0].max() == pytest.approx(101 * 0.2 / 2 * 15 / 16)


@pytest.mark.parametrize(
    ("true", "estimated"), [(repeated(FORWARD, 3), repeated(FORWARD, 4)), (repeated(FORWARD * 0, 5), repeated(FORWARD, 5))]
)
def test_what_cannot_be_compared_is_refused(true, estimated):
    with pytest.raises(TooShort):
        accuracy(true, estimated, POINTS)


def test_a_sweep_shorter_than_a_piece_is_refused():
    with pytest.raises(TooShort, match="pieces of 50 steps"):
        piece_drift_rate_percent(repeated(FORWARD, 50), repeated(FORWARD, 50))
