"""Simulated sweeps as a whole: decorrelation from frame to frame, known truth, determinism, both channels, both geometries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from edge.compounding.scan_conversion import ScanTable, Sector
from edge.simulation.simulate import (
    BadSimulation,
    Convex,
    SimulatedSweep,
    SimulationSettings,
    simulate_sweep,
)
from edge.simulation.trajectory import Freehand

SMALL = {"frames": 24, "image_size": (160, 192), "spacing_mm": (0.25, 0.25)}
STRAIGHT = Freehand(step_mm=0.4, step_variation=0, sway_mm=(0, 0), tilt_deg=(0, 0, 0), tremor_mm=0)


def small(**settings: object) -> SimulatedSweep:
    return simulate_sweep(SimulationSettings(**{**SMALL, **settings}))  # type: ignore[arg-type]


def texture(pixels: np.ndarray) -> np.ndarray:
    """An image less what is smooth in it."""
    grey = pixels.astype(np.float64)
    return (grey - gaussian_filter(grey, 6)).ravel()


def test_neighbouring_frames_share_their_speckle_and_far_ones_do_not() -> None:
    settings = {"image_size": (200, 200), "spacing_mm": (0.125, 0.125), "hand": STRAIGHT}
    seen, truth = small(**settings), small(**settings, speckle=False)
    speckle = [texture(seen[i].pixels.astype(float) - truth[i].pixels) for i in (0, 1, 3, 12)]
    near, some, far = (np.corrcoef(speckle[0], other)[0, 1] for other in speckle[1:])
    assert near > 0.8
    assert 0.2 < some < near
    assert abs(far) < 0.12


def test_frames_without_speckle_are_the_phantom_sliced_at_their_poses() -> None:
    sweep = small(speckle=False)
    for frame in (sweep[0], sweep[13]):
        rows, columns = np.mgrid[:192, :160]
        points_mm = frame.image_to_reference.apply(np.stack([columns, rows, 0 * rows], -1))
        truth = sweep.truth(points_mm)
        assert np.abs(frame.pixels - truth).max() <= 0.51 + 0.1  # rounding, and float32 positions


def test_speckle_keeps_the_mean_brightness_of_the_truth() -> None:
    seen, truth = small(looks=3)[5].pixels.astype(float), small(speckle=False)[5].pixels.astype(float)
    tissue = (truth > 90) & (truth < 200)
    assert abs(np.mean(seen[tissue] - truth[tissue])) < 8
    assert np.corrcoef(gaussian_filter(seen, 3).ravel(), gaussian_filter(truth, 3).ravel())[0, 1] > 0.9


def test_a_scanner_that_averages_shows_what_it_showed_before_and_little_of_what_is_long_gone() -> None:
    new, shown = (small(persistence=share, photoacoustic=both) for share, both in ((0, False), (0.5, False)))
    images = np.stack([new[i].pixels.astype(float) for i in range(12)])
    expected = (8 * images[11] + 4 * images[10] + 2 * images[9] + images[8]) / 15
    assert np.abs(shown[11].pixels - expected).max() <= 1, "rounded once, not five times"
    assert (shown[0].pixels != new[0].pixels).mean() < 1e-3, "the first stands alone, but for halves that round the other way"
    apart, both = small(photoacoustic=True), small(photoacoustic=True, persistence=0.5)
    images = np.stack([apart[i].pixels.astype(float) for i in range(12)])
    expected = (8 * images[10] + 4 * images[8] + 2 * images[6] + images[4]) / 15
    assert np.abs(both[10].pixels - expected).max() <= 1
    assert np.array_equal(both[11].pixels, apart[11].pixels), "light is not averaged"
    assert np.array_equal(small(persistence=0.5, speckle=False)[9].pixels, small(speckle=False)[9].pixels), "nor is the truth"


@pytest.mark.parametrize("persistence", [0.0, 0.4])
def test_a_frame_is_the_same_whenever_it_is_asked_for(persistence: float) -> None:
    forwards, again = small(persistence=persistence), small(persistence=persistence)
    last_first = again[7].pixels
    assert np.array_equal([f.pixels for f in forwards][7], last_first)
    assert not np.array_equal(small(seed=1)[7].pixels, last_first)


def test_every_frame_has_its_time_pose_and_shape() -> None:
    sweep = small(frames_per_s=25.0)
    frames = list(sweep)
    assert len(frames) == len(sweep) == 24
    sweep.geometry.check()
    assert (sweep.geometry.width, sweep.geometry.height) == (160, 192)
    assert [f.timestamp_ns for f in frames[:3]] == [0, 40_000_000, 80_000_000]
    assert all(f.pixels.shape == (192, 160) and f.pixels.dtype == np.uint8 for f in frames)
    assert all(f.image_to_reference is pose for f, pose in zip(frames, sweep.poses, strict=True))
    with pytest.raises(IndexError):
        sweep[24]


def test_photoacoustic_frames_show_the_vessel_that_is_dark_in_b_mode() -> None:
    sweep = small(photoacoustic=True)
    b_mode, light = sweep[4], sweep[5]
    assert (b_mode.modality, light.modality) == ("bmode", "photoacoustic")
    trunk = sweep.phantom.vessel[0]
    distance, _ = trunk.distance(*np.moveaxis(sweep.points_mm(5), -1, 0))
    lumen, around = distance < -1, (distance > 2) & (sweep.points_mm(5)[..., 1] > 10)
    assert light.pixels[lumen].mean() > light.pixels[around].mean() + 60
    assert b_mode.pixels[lumen].mean() < b_mode.pixels[around].mean() - 40


def test_convex_frames_are_the_phantom_along_beams() -> None:
    probe = Convex(-25, 35, 15, 50)
    sweep = small(convex=probe, image_size=(48, 90), speckle=False)
    frame = sweep[3]
    assert frame.pixels.shape == (90, 48)
    sweep.geometry.check()
    assert (sweep.geometry.kind, sweep.geometry.angle_stop_deg) == ("convex", 35)
    width, _, left, top = probe.image_grid(0.25)
    assert left == -(width - 1) / 2 * 0.25
    angle, radius = np.deg2rad(-25 + 60 * 20 / 47), 15 + 35 * 70 / 89
    pixel = np.array([radius * np.sin(angle) - left, radius * np.cos(angle) - top, 0]) / [0.25, 0.25, 1]
    expected = sweep.truth(frame.image_to_reference.apply(pixel))
    assert frame.pixels[70, 20] == pytest.approx(float(expected), abs=0.7)


@pytest.mark.parametrize("angles", [(-30, 30), (-10, 40), (5, 35)])
def test_scan_converted_convex_frames_are_the_phantom_at_their_poses(angles: tuple[float, float]) -> None:
    probe = Convex(*angles, 15, 50)
    sweep = small(convex=probe, image_size=(360, 400), speckle=False)
    table = ScanTable(Sector(360, 400, 15, 50, *angles), 0.25)
    frame = sweep[9]
    assert sweep.converted_size == table.index.shape[::-1]
    rows, columns = np.nonzero(table.valid)
    image = frame.pixels.ravel()[table.index[rows, columns]]  # the sample above and left: half a sample off at most
    truth = sweep.truth(frame.image_to_reference.apply(np.stack([columns, rows, 0 * rows], -1)))
    assert np.median(np.abs(image - truth)) < 2
    assert np.corrcoef(image, truth)[0, 1] > 0.99


def test_settings_that_contradict_themselves_are_refused_by_name() -> None:
    with pytest.raises(BadSimulation, match="persistence"):
        SimulationSettings(persistence=1.0)
    with pytest.raises(BadSimulation, match="shows nothing"):
        SimulationSettings(image_size=(1, 100))
    with pytest.raises(BadSimulation, match="square pixels"):
        SimulationSettings(convex=Convex(), spacing_mm=(0.1, 0.2))
    with pytest.raises(BadSimulation, match="seed"):
        SimulationSettings(seed=-1)
    with pytest.raises(BadSimulation, match="sector"):
        SimulationSettings(convex=Convex(10, -10))
