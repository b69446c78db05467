"""Measures of a path on cases that can be computed by hand."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from edge.evaluation.measures import average, correlation, hausdorff_mm, measure
from edge.evaluation.volumes import similarity
from edge.files.volumes import Volume
from edge.motion.accuracy import CANONICAL_SIGN, TooShort, chain_of_steps, grid, repeated

SIZE, SPACING = (120, 90), (0.3, 0.4)
POINTS = grid(*SIZE, SPACING)
FORWARD = np.array([0, 0, 0.5, 0, 0, 0.0])


def wandering(seed=0, steps=80):
    return FORWARD + np.random.default_rng(seed).normal(0, 1, (steps, 6)) * [0.2, 0.1, 0.2, 0.01, 0.01, 0.01]


def test_final_drift_is_told_over_the_path_and_over_the_distance_of_its_ends():
    there_and_aside = chain_of_steps(np.array([[3.0, 0, 0, 0, 0, 0], [0, 4.0, 0, 0, 0, 0]]))
    found = measure(there_and_aside, repeated(FORWARD * 0, 3), POINTS)
    assert (found.final_drift_rate_percent, found.final_drift_rate_end_to_end_percent) == pytest.approx((500 / 7, 100))
    assert found.average_drift_mm == pytest.approx((3 + 5) / 2)
    assert found.average_drift_rate_percent == pytest.approx((100 + 500 / 7) / 2)
    assert found.piece_drift_rate_percent is None, "three frames hold no piece of 50 steps"


def test_a_sweep_that_comes_back_has_no_rate_over_its_ends():
    there_and_back = chain_of_steps(np.array([[0, 0, 1.0, 0, 0, 0], [0, 0, -1.0, 0, 0, 0]]))
    assert measure(there_and_back, repeated(FORWARD, 3), POINTS).final_drift_rate_end_to_end_percent is None


def test_pieces_are_measured_each_from_its_own_start():
    true, found = repeated(FORWARD, 101), repeated(FORWARD * 1.1, 101)
    measured = measure(true, found, POINTS)
    assert measured.piece_drift_rate_percent == pytest.approx(10)
    assert measured.piece_drift_mm == pytest.approx(2.5)
    assert measured.piece_drift_rate_end_to_end_percent == pytest.approx(10)


def test_errors_are_in_millimetres_and_degrees():
    off = FORWARD + np.array([0.1, 0, 0, 0, 0, np.deg2rad(2)])
    measured = measure(repeated(FORWARD, 3), repeated(off, 3), POINTS)
    assert measured.relative_error == pytest.approx({"tx": 0.1, "ty": 0, "tz": 0, "rx": 0, "ry": 0, "rz": 2}, abs=1e-9)
    assert measured.accumulated_error["rz"] == pytest.approx((2 + 4) / 2)


def test_an_angle_beyond_half_a_turn_is_taken_the_short_way():
    turn = np.array([0, 0, 1, 0, 0, np.deg2rad(179)])
    other = np.array([0, 0, 1, 0, 0, np.deg2rad(-179)])
    assert measure(repeated(turn, 2), repeated(other, 2), POINTS).relative_error["rz"] == pytest.approx(2)


def test_correlation_is_pearsons_and_a_constant_has_none():
    steps = wandering()
    found = correlation(steps, steps * [1, -2, 0, 3, 1, 1] + [5, 0, 0.5, 0, 0, 0])
    assert (found["tx"], found["ty"], found["tz"], found["rx"]) == (pytest.approx(1), pytest.approx(-1), None, pytest.approx(1))


def test_a_raster_of_points_stands_for_all_pixels():
    """TUS-REC takes every pixel."""
    x, y = np.meshgrid((np.arange(SIZE[0]) - (SIZE[0] - 1) / 2) * SPACING[0], (np.arange(SIZE[1]) - (SIZE[1] - 1) / 2) * SPACING[1])
    pixels = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1)
    true, found = chain_of_steps(wandering()), chain_of_steps(wandering(1))
    every, some = measure(true, found, pixels), measure(true, found, POINTS)
    assert (some.lpe_mm, some.gpe_mm) == pytest.approx((every.lpe_mm, every.gpe_mm), rel=2e-3)


def test_landmarks_of_the_first_frame_do_not_count():
    true, found = repeated(FORWARD, 4), repeated(FORWARD * 0.9, 4)
    marks = np.array([0, 1, 3]), np.zeros((3, 3))
    measured = measure(true, found, POINTS, marks)
    assert measured.lle_mm == pytest.approx(0.05)
    assert measured.gle_mm == pytest.approx((0.05 + 0.15) / 2)
    assert measure(true, found, POINTS, (np.array([0]), np.zeros((1, 3)))).gle_mm is None


def test_hausdorff_distance_is_that_of_the_loneliest_point():
    line = np.stack([np.zeros(11), np.zeros(11), np.arange(11.0)], 1)
    bent = line.copy()
    bent[5, 0] = 3.0
    assert hausdorff_mm(line, bent) == hausdorff_mm(bent, line) == pytest.approx(3)
    assert hausdorff_mm(line, line[:6]) == pytest.approx(5)


def test_a_mirrored_pair_of_paths_has_the_same_measures():
    true, found = wandering(), wandering(2)
    plain = asdict(measure(chain_of_steps(true), chain_of_steps(found), POINTS))
    mirrored = asdict(measure(chain_of_steps(true * CANONICAL_SIGN), chain_of_steps(found * CANONICAL_SIGN), POINTS))
    for name, value in plain.items():
        assert mirrored[name] == pytest.approx(value), name


def test_the_mean_over_sweeps_leaves_out_what_a_sweep_does_not_have():
    assert average([{"a": 1.0, "b": {"c": None}}, {"a": None, "b": {"c": 2.0}}]) == {"a": 1.0, "b": {"c": 2.0}}


def test_a_probe_that_did_not_move_is_refused():
    with pytest.raises(TooShort, match="did not move"):
        measure(repeated(FORWARD * 0, 3), repeated(FORWARD, 3), POINTS)


def test_volumes_are_compared_where_either_is_filled():
    values = np.random.default_rng(0).integers(1, 255, (8, 8, 8), np.uint8)
    whole = Volume(values, (0.0, 0.0, 0.0), 0.5, state=np.ones_like(values))
    moved = Volume(values, (0.0, 0.0, 4.0), 0.5, state=np.ones_like(values))
    assert similarity(whole, whole) == pytest.approx((1, 1), abs=1e-6)
    alike, overlap = similarity(whole, moved)
    assert alike < 0 and overlap == 0
    half = Volume(values[:4], (0.0, 0.0, 0.0), 0.5, state=np.ones_like(values[:4]))
    assert similarity(whole, half)[1] == pytest.approx(2 * 0.5 / 1.5)
