"""What the hand is told during a sweep."""

from pathlib import Path

import numpy as np
import pytest

from edge.files import open_sweep
from edge.tablet.guide import FrameRate, Guide, contact, limit_mm_s

LEG = Path(__file__).parents[4] / "shared" / "data" / "leg" / "leg_0003_0043.igs.mha"
SIZE = (100, 80)


def pose(z_mm, tilt_rad=0.0):
    matrix = np.diag([0.4, 0.4, 1.0, 1.0])
    c, s = np.cos(tilt_rad), np.sin(tilt_rad)
    turn = np.eye(4)
    turn[1:3, 1:3] = (c, -s), (s, c)
    matrix = turn @ matrix
    matrix[2, 3] += z_mm
    return matrix


def swept(step_mm, frames=60, frames_per_s=30.0, **more):
    guide = Guide()
    for n in range(frames):
        bridged, tracked = more.get("bridged", 0) if n else 0, more.get("tracked", False)
        guide.place(int(n * 1e9 / frames_per_s), pose(n * step_mm), more.get("uncertainty", ()), SIZE, bridged, tracked=tracked)
        guide.judge(n / frames_per_s, frames_per_s, more.get("in_contact", True))
    return guide


@pytest.mark.parametrize(("step_mm", "verdict"), [(0.2, "ok"), (0.45, "fast"), (0.8, "too_fast"), (0.0, "stopped")])
def test_the_verdict_follows_the_limit_of_the_frame_rate(step_mm, verdict):
    assert limit_mm_s(30) == pytest.approx(9.1, abs=0.05)
    guide = swept(step_mm, frames=120)
    assert guide.verdict == verdict and guide.speed_mm_s == pytest.approx(30 * step_mm, abs=0.1)
    assert guide.length_mm == pytest.approx(119 * step_mm)


def test_a_verdict_does_not_flicker():
    guide = swept(0.2)
    guide.speed_mm_s = 15.0
    assert guide.judge(10.0, 30, True) == "ok" and guide.judge(10.2, 30, True) == "ok" and guide.judge(10.31, 30, True) == "fast"
    assert guide.judge(10.4, 30, False) == "fast" and guide.judge(10.8, 30, False) == "no_contact"


def test_turning_counts_as_it_moves_what_is_looked_at():
    guide = Guide()
    for n in range(11):
        guide.place(n * 33_000_000, pose(0.0, 0.01 * n), (), SIZE, 0)
    depth_mm = (SIZE[1] - 1) / 2 * 0.4
    assert guide.length_mm == pytest.approx(0.1 * depth_mm, rel=0.01)


def test_coverage_names_thin_stretches_and_gaps():
    assert {word for _, word in swept(0.25).coverage()} == {"ok"}
    assert {word for _, word in swept(0.6).coverage()} == {"thin"}
    wide = swept(0.25)
    wide.place(10**11, pose(25.0), (), SIZE, 0)
    wide.place(10**11 + 1, pose(25.3), (), SIZE, 0)
    words = dict(wide.coverage())
    assert words[1.0] == "ok" and words[19.0] == "gap"
    assert "gap" in {word for _, word in swept(0.25, bridged=2).coverage()}


def test_drift_grows_with_uncertain_steps_and_is_unknown_where_nobody_says_how_uncertain_they_are():
    assert swept(0.25).drift_mm is None
    assert swept(0.25, tracked=True).drift_mm == 0
    short, long = (swept(0.25, frames, uncertainty=(0.05,) * 3 + (0.002,) * 3) for frames in (20, 80))
    assert 0.1 < short.drift_mm < long.drift_mm < 20


def test_the_frame_rate_is_that_of_now():
    rate = FrameRate()
    assert rate.per_s(0.0) == 0
    for n in range(90):
        rate.add(n / 30)
    assert rate.per_s(3.0) == pytest.approx(30, rel=0.02) and rate.per_s(5.0) == 0


def test_air_and_black_are_no_contact():
    assert not contact(np.zeros((480, 640), np.uint8), 0.1)
    air = np.zeros((480, 640), np.uint8)
    air[:40] = np.linspace(255, 0, 40)[:, None]
    air += np.random.default_rng(1).integers(0, 3, air.shape).astype(np.uint8)
    assert not contact(air, 0.1)
    speckle = np.clip(np.random.default_rng(1).rayleigh(40, (480, 640)), 0, 255).astype(np.uint8)
    assert contact(speckle, 0.1)


@pytest.mark.skipif(not LEG.exists(), reason="the real sweeps of shared/data are not beside this clone")
def test_a_real_leg_is_contact_in_every_image():
    sweep = open_sweep(LEG)
    seen = [contact(frame.pixels, frame.geometry.spacing_mm[1]) for frame in sweep.frames()]
    assert all(seen) and len(seen) > 20
