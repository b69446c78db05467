"""Freehand paths: where they start, how they step, how much they turn, and that the seed decides them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge.simulation.trajectory import BadTrajectory, Freehand, freehand_path
from edge.transform import Transform, first_image_to_reference, image_to_center, motion_parameters

SIZE, SPACING_MM = (320, 384), (0.125, 0.125)


def path(frames: int = 300, seed: int = 0, **hand: float) -> list[Transform]:
    return freehand_path(frames, 30.0, SIZE, SPACING_MM, Freehand(**hand), seed)  # type: ignore[arg-type]


def steps(poses: list[Transform]) -> np.ndarray:
    """Motion parameters [n - 1, 6] from frame to frame: mm and radians."""
    to_center = image_to_center(*SIZE, SPACING_MM)
    centers = [pose @ to_center.inverse() for pose in poses]
    relative = [before.inverse() @ after for before, after in pairwise(centers)]
    return np.array([motion_parameters(step) for step in relative])


def test_the_first_image_is_reference() -> None:
    np.testing.assert_allclose(path()[0].matrix, first_image_to_reference(SPACING_MM).matrix, atol=1e-12)
    assert {pose.name for pose in path()} == {"ImageToReference"}


@pytest.mark.parametrize("step_mm", [0.3, 0.6, -0.4])
def test_the_mean_elevational_step_is_the_one_asked_for(step_mm: float) -> None:
    poses = path(step_mm=step_mm, tremor_mm=0.0)
    center = image_to_center(*SIZE, SPACING_MM).inverse().apply([0, 0, 0])
    travelled = poses[-1].apply(center) - poses[0].apply(center)
    assert travelled[2] == pytest.approx(step_mm * (len(poses) - 1))


@pytest.mark.parametrize("seed", range(4))
def test_steps_keep_their_direction_and_vary_slowly(seed: int) -> None:
    elevational = steps(path(seed=seed, tremor_mm=0.0))[:, 2]
    assert (elevational > 0).all()
    assert 0.01 < elevational.std() < 0.2
    assert np.abs(np.diff(elevational)).max() < 0.06


def test_tremor_has_the_size_asked_for() -> None:
    still = path(frames=1500, step_mm=0.0, step_variation=0.0, sway_mm=(0, 0), tilt_deg=(0, 0, 0), tremor_mm=0.02)  # type: ignore[arg-type]
    np.testing.assert_allclose(steps(still)[:, :3].std(axis=0), 0.02 * np.sqrt(2), rtol=0.1)


def test_turns_stay_within_a_few_degrees_and_poses_rigid() -> None:
    for pose in path(seed=2):
        axes = pose.matrix[:3, :3] / [*SPACING_MM, 1]
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        assert np.rad2deg(np.arccos(np.clip((np.trace(axes) - 1) / 2, -1, 1))) < 12


def test_the_seed_decides_the_path() -> None:
    one, same, other = (np.array([pose.matrix for pose in path(seed=seed)]) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_a_single_frame_is_a_path_and_none_is_refused_by_name() -> None:
    assert len(path(frames=1)) == 1
    with pytest.raises(BadTrajectory, match="above 0"):
        path(frames=0)
