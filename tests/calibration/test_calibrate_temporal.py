"""The lag between images and tracker: found again in simulated motion, with noise, lost images and an inertial unit."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from wire_phantom import placed, turned, write_sequence

from calibration.line import line_depth
from calibration.temporal import LagUnclear, Signal, measured_lag
from edge.app import main
from edge.files import ProbeFile, open_sweep, read_probe, write_probe, write_sweep
from edge.messages import Extras, Frame, Geometry, ImuSample
from edge.simulation import Freehand, SimulationSettings, as_frames, simulate_sweep

LEG = Path(__file__).parents[3] / "shared" / "data" / "leg" / "leg_0318_0509.igs.mha"
HEIGHT, WIDTH, SPACING_MM = 160, 96, 0.25


def height_mm(times_s: np.ndarray) -> np.ndarray:
    """The probe above the bottom: up and down, not quite evenly, 12 mm in all."""
    return 20 + 4.5 * np.sin(2 * np.pi * 0.55 * times_s) + 1.5 * np.sin(2 * np.pi * 0.21 * times_s + 1)


def bottom(depth_mm: float, random: np.random.Generator, speckle: float = 25.0) -> np.ndarray:
    """An image of a flat bottom, a little slanted, with speckle."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    at = depth_mm / SPACING_MM + 0.04 * (columns - (WIDTH - 1) / 2)
    image = random.rayleigh(speckle, (HEIGHT, WIDTH)) + 160 * np.exp(-(((rows - at) / 2) ** 2) / 2)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_bottom(path, lag_ms: float, *, noise_mm: float = 0.0, seed: int = 1, seconds: float = 12.0, tilt: float = 0.4):
    """Images stamped t show the height at t + lag; poses stamped t are those of t. Image times jitter by 3 ms."""
    random = np.random.default_rng(seed)
    times = np.arange(0, seconds, 0.05) + random.uniform(-0.003, 0.003, round(seconds / 0.05))
    images = np.stack([bottom(depth, random) for depth in height_mm(times + lag_ms / 1e3)])
    along = turned(tilt, 0.2, 0) @ [0, 1, 0]
    probes = [placed(turned(tilt, 0.2, 0), along * -h + random.normal(0, noise_mm, 3)) for h in height_mm(times)]
    return write_sequence(path, images, probes, times)


def run(capsys, *words) -> dict:
    capsys.readouterr()
    assert main(["calibrate", "temporal", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_line_is_found_to_a_fifth_of_a_row_where_it_slants_and_speckle_lies_on_it():
    random = np.random.default_rng(1)
    off = [line_depth(bottom(d, random)) - d / SPACING_MM for d in np.linspace(8, 32, 40)]
    assert np.std(off) < 0.2 and abs(np.mean(off)) < 0.2


def test_no_line_is_seen_in_speckle():
    assert np.isnan(line_depth(np.random.default_rng(1).integers(0, 60, (160, 96), dtype=np.uint8)))


@pytest.mark.parametrize("lag_ms", [0.0, 37.0, -83.0, 240.0])
def test_the_lag_comes_back(tmp_path, capsys, lag_ms):
    said = run(capsys, write_bottom(tmp_path / "b.igs.mha", lag_ms))
    assert said["lag_ms"] == pytest.approx(lag_ms, abs=1.5)
    assert abs(said["correlation"]) > 0.99


def test_the_lag_comes_back_from_a_noisy_tracker(tmp_path, capsys):
    said = run(capsys, write_bottom(tmp_path / "b.igs.mha", 64.0, noise_mm=0.6))
    assert said["lag_ms"] == pytest.approx(64, abs=5)
    assert 0.9 < abs(said["correlation"]) < 0.999


def test_a_tracker_in_another_file_is_taken(tmp_path, capsys):
    images = write_bottom(tmp_path / "images.igs.mha", 50.0, seed=2)
    tracker = write_bottom(tmp_path / "tracker.igs.mha", 0.0, seed=3)
    assert run(capsys, images, "--tracker", tracker)["lag_ms"] == pytest.approx(50, abs=2)


def test_the_lag_is_kept_and_puts_the_images_where_they_were_taken(tmp_path, capsys):
    sequence = write_bottom(tmp_path / "b.igs.mha", 70.0)
    probe = ProbeFile(
        probe="a",
        date="2026-11-29",
        geometry=Geometry(width=WIDTH, height=HEIGHT, spacing_mm=(SPACING_MM, SPACING_MM)),
        image_to_probe=tuple(np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1]).ravel().tolist()),
    )
    write_probe(tmp_path / "probe.json", probe)

    def bottom_spread_mm() -> float:
        """Of the bottom, which does not move, over all images: 0 where every image lies where it was taken."""
        at = []
        for frame in open_sweep(sequence, probe=tmp_path / "probe.json").frames():
            if frame.pose is not None:
                at.append(frame.pose.apply([(WIDTH - 1) / 2, line_depth(frame.pixels), 0]))
        return float(np.std(at, axis=0).max())

    before = bottom_spread_mm()
    run(capsys, sequence, "--probe", tmp_path / "probe.json")
    assert read_probe(tmp_path / "probe.json").lag_ms == pytest.approx(70, abs=1.5)
    assert read_probe(tmp_path / "probe.json").temporal.sequence == "b.igs.mha"
    assert before > 0.5 and bottom_spread_mm() < 0.08


def test_the_inertial_unit_is_compared_by_acceleration(tmp_path, capsys):
    lag_ms, random = 45.0, np.random.default_rng(4)
    axis = turned(0.3, 0.1, 0.2) @ [0, 1, 0]
    geometry = Geometry(width=WIDTH, height=HEIGHT, spacing_mm=(SPACING_MM, SPACING_MM))
    frames = []
    for index, time in enumerate(np.arange(0, 14, 0.05)):
        stamps = time + np.arange(5) / 100
        second = (height_mm(stamps + 1e-3) - 2 * height_mm(stamps) + height_mm(stamps - 1e-3)) / 1e-6 / 1e3
        imu = tuple(
            ImuSample(
                timestamp_ns=round(stamp * 1e9),
                acceleration_m_s2=tuple((axis * -a + [0.2, 9.8, 0.4] + random.normal(0, 0.01, 3)).tolist()),
                angular_velocity_rad_s=(0.0, 0.0, 0.0),
            )
            for stamp, a in zip(stamps, second, strict=True)
        )
        pixels = bottom(float(height_mm(np.array(time + lag_ms / 1e3))), random)
        frames.append(
            Frame(
                boot_id=1, sweep=1, sequence=index, timestamp_ns=round(time * 1e9), geometry=geometry, extras=Extras(imu=imu), pixels=pixels
            )
        )
    write_sweep(tmp_path / "b.igs.mha", frames)
    said = run(capsys, tmp_path / "b.igs.mha", "--imu")
    assert said["of"] == "inertial unit" and said["lag_ms"] == pytest.approx(lag_ms, abs=8)


def test_the_lag_of_an_inertial_unit_is_not_kept_where_nothing_would_read_it(tmp_path, capsys):
    probe = tmp_path / "probe.json"
    assert main(["calibrate", "temporal", "b.igs.mha", "--imu", "--probe", str(probe)]) == 1
    assert "nothing places images by an inertial unit" in capsys.readouterr().err and not probe.exists()


def test_speckle_alone_shows_the_lag_of_a_tracked_sweep(tmp_path, capsys):
    """No line, tissue only: a sweep that sways sideways, whose poses are those of two images before."""
    settings = SimulationSettings(frames=220, image_size=(224, 176), spacing_mm=(0.125, 0.125), hand=Freehand(sway_mm=(2.5, 0.25)), seed=2)
    frames = list(as_frames(simulate_sweep(settings)))
    late = [
        msgspec.structs.replace(frame, sequence=i, image_to_reference=before.image_to_reference)
        for i, (before, frame) in enumerate(zip(frames, frames[2:], strict=False))
    ]
    write_sweep(tmp_path / "late.igs.mha", late)
    said = run(capsys, tmp_path / "late.igs.mha", "--speckle", "--max-lag-ms", 250)
    assert said["lag_ms"] == pytest.approx(2000 / 30, abs=15)


@pytest.mark.skipif(not LEG.exists(), reason="the real leg sweeps are not beside the repository (../shared/data/leg)")
def test_the_real_leg_sweep_lags_by_less_than_a_frame(capsys):
    """Nobody measured its lag; it was recorded with care, and the scanner's averaging alone holds images back by some 20 ms."""
    said = run(capsys, LEG, "--speckle")
    assert -50 < said["lag_ms"] < 10
    assert said["correlation"] > 0.8
    assert abs(said["halves_ms"][0] - said["halves_ms"][1]) < 10


def test_short_still_or_unlike_motion_is_refused_by_name(tmp_path, capsys):
    write_bottom(tmp_path / "short.igs.mha", 0.0, seconds=4)
    assert main(["calibrate", "temporal", str(tmp_path / "short.igs.mha")]) == 1
    assert "record 15 s" in capsys.readouterr().err
    images = np.stack([bottom(20, np.random.default_rng(i)) for i in range(60)])
    write_sequence(tmp_path / "still.igs.mha", images, [np.eye(4)] * 60)
    assert main(["calibrate", "temporal", str(tmp_path / "still.igs.mha")]) == 1
    assert "move the probe up and down" in capsys.readouterr().err
    times = np.arange(0, 12, 0.05)
    one, other = (
        Signal("one", times, np.sin(2 * np.pi * 0.5 * times)),
        Signal("other", times, np.random.default_rng(1).normal(size=len(times))),
    )
    with pytest.raises(LagUnclear, match="alike by"):
        measured_lag(one, other)


def test_a_motion_that_repeats_within_the_lags_tried_is_refused_by_name():
    times = np.arange(0, 12, 0.02)
    even = np.sin(2 * np.pi * 3 * times)
    with pytest.raises(LagUnclear, match="several lags fit"):
        measured_lag(Signal("one", times, even), Signal("other", times, even))


@pytest.mark.parametrize("lag_ms", [37.0, -20.5, 0.9])
def test_the_lag_is_read_between_the_steps_that_are_tried(lag_ms):
    times = np.arange(0, 12, 0.01)
    found = measured_lag(Signal("one", times, height_mm(times + lag_ms / 1e3)), Signal("other", times, height_mm(times)))
    assert found.lag_ms == pytest.approx(lag_ms, abs=0.2)
    assert found.correlation == pytest.approx(1, abs=1e-4)


def test_clocks_that_run_apart_are_refused_by_name():
    times = np.arange(0, 40, 0.02)
    with pytest.raises(LagUnclear, match="clocks run apart"):
        measured_lag(Signal("one", times, height_mm(times)), Signal("other", times, height_mm(times * 1.004)))


def test_a_lag_beyond_what_was_tried_is_refused_by_name():
    times = np.arange(0, 14, 0.02)
    with pytest.raises(LagUnclear, match="the largest that was tried"):
        measured_lag(Signal("one", times, height_mm(times)), Signal("other", times, height_mm(times - 0.25)), 0.2)
