"""Classical motion from speckle: blocks that are moved by hand, the simulator's speckle, curves fitted and refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edge.config import MotionConfig
from edge.evaluation.baselines import fitted_curve, listen
from edge.evaluation.watch import NothingToCompare, watch
from edge.motion import open_motion
from edge.motion.accuracy import steps_of
from edge.motion.decorrelation import BadCurve, DecorrelationMotion, in_plane, plain_curve, read_curve
from edge.motion.speckle_blocks import SPACING_MM, WINDOW, Blocks, Matches
from edge.simulation import Freehand, SimulationSettings, simulate_sweep, write_simulated_sweep


def simulated(folder, step_mm, seed=3, frames=12):
    settings = SimulationSettings(frames=frames, image_size=(240, 240), spacing_mm=(0.15, 0.15), hand=Freehand(step_mm=step_mm), seed=seed)
    path = folder / f"{step_mm}-{seed}.igs.mha"
    write_simulated_sweep(path, simulate_sweep(settings))
    return path


@pytest.fixture(scope="module")
def forward(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("sweeps"), 0.5)


def smooth_noise(seed=0):
    noise = np.random.default_rng(seed).normal(0, 60, (WINDOW[1] + 40, WINDOW[0] + 40))
    return sum(np.roll(noise, (dy, dx), (0, 1)) for dy in range(3) for dx in range(3)) / 3 + 120


def test_blocks_find_how_far_an_image_was_moved():
    texture = smooth_noise()
    before, now = (texture[20 + dy : 20 + dy + WINDOW[1], 20 + dx : 20 + dx + WINDOW[0]] for dy, dx in ((0, 0), (2, -7)))
    blocks = Blocks(WINDOW[1], (SPACING_MM, SPACING_MM), (12, 5))
    matches = blocks.match(blocks.raster(now), blocks.raster(before), (12, 5))
    assert np.median(matches.shift_mm, 0) == pytest.approx([-7 * SPACING_MM, 2 * SPACING_MM], abs=0.01)
    assert np.median(matches.peak) > 0.97


def test_unrelated_speckle_has_no_peak_and_a_black_image_no_speckle():
    blocks = Blocks(WINDOW[1], (SPACING_MM, SPACING_MM), (12, 5))
    rasters = [blocks.raster(smooth_noise(seed)[20:-20, 20:-20]) for seed in (1, 2)]
    assert np.nanmedian(blocks.match(*rasters, (12, 5)).peak) < 0.5
    assert np.isnan(blocks.match(rasters[0], rasters[0] * 0, (12, 5)).peak).all()


def test_a_turn_in_the_plane_is_told_from_a_shift():
    centre = np.stack(np.meshgrid(np.linspace(-20, 20, 9), np.linspace(-15, 15, 7)), -1).reshape(-1, 2)
    shift = np.stack([0.3 - 0.01 * centre[:, 1], -0.1 + 0.01 * centre[:, 0]], 1)
    shift[5] += 1.0  # one block found something else
    assert in_plane(Matches(np.ones(len(centre)), shift), centre) == pytest.approx([0.3, -0.1, 0.01], abs=1e-3)


def test_simulated_speckle_gives_the_motion_in_the_plane_and_the_size_of_the_step(forward):
    watched = watch(forward, {"d": DecorrelationMotion()})
    true, found = steps_of(watched.true), watched.estimates["d"].steps
    assert np.corrcoef(true[:, 0], found[:, 0])[0, 1] > 0.9
    assert np.abs(true[:, :2] - found[:, :2]).mean() < 0.05
    assert found[:, 2].mean() == pytest.approx(0.5, rel=0.3)


def test_a_wider_step_decorrelates_more(forward, tmp_path):
    steps = [watch(path, {"d": DecorrelationMotion()}).estimates["d"].steps[:, 2].mean() for path in (simulated(tmp_path, 0.2), forward)]
    assert steps[0] < 0.6 * steps[1]


def test_a_sweep_and_its_reverse_have_the_same_size_of_steps(forward, tmp_path):
    """Speckle cannot tell the sign: both are canonical."""
    backward = watch(simulated(tmp_path, -0.5), {"d": DecorrelationMotion()})
    assert backward.direction == "-"
    assert backward.estimates["d"].steps[:, 2].mean() > 0.3


def test_a_fitted_curve_beats_the_plain_one_and_survives_its_file(forward, tmp_path):
    pieces = [listen(simulated(tmp_path, step, seed)) for step, seed in ((0.3, 4), (0.5, 5), (0.7, 6))]
    curve = fitted_curve(pieces)
    assert curve.steps == 33 and len(curve.spread) == 6
    path = tmp_path / "curve.json"
    path.write_bytes(msgspec.json.encode(curve))
    assert read_curve(path) == curve
    fitted = open_motion(MotionConfig(source="decorrelation", preset=str(path)))
    watched = watch(forward, {"fitted": fitted, "plain": DecorrelationMotion()})
    errors = {name: np.abs(one.steps - watched.canonical_steps).mean(0)[2] for name, one in watched.estimates.items()}
    assert errors["fitted"] < errors["plain"]
    assert not np.isnan(watched.estimates["fitted"].deviations).any()


def test_too_few_steps_fit_no_curve(forward):
    with pytest.raises(NothingToCompare, match="11 steps"):
        fitted_curve([listen(forward)])


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"weights": [[0.0]] * 6}, "another version"), ({"bands": []}, "0 bands"), ({"kind": "constant-motion"}, "no decorrelation curve")],
)
def test_a_wrong_curve_is_refused_by_its_name(tmp_path, changes, said):
    path = tmp_path / "curve.json"
    path.write_bytes(msgspec.json.encode(msgspec.to_builtins(plain_curve()) | changes))
    with pytest.raises(BadCurve, match=said) as wrong:
        read_curve(path)
    assert "curve.json" in str(wrong.value)


def test_a_curve_that_rises_is_refused(tmp_path):
    wrong = msgspec.to_builtins(plain_curve())
    wrong["bands"][2]["floor"] = 1.5
    (tmp_path / "curve.json").write_bytes(msgspec.json.encode(wrong))
    with pytest.raises(BadCurve, match="falls from its peak"):
        read_curve(tmp_path / "curve.json")
