"""The constant-motion preset: averaged by hand, and on the real leg sweeps against the published baselines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from calibration.constant import mean_motion
from calibration.tracked import NotTracked, TrackedSweep, read_tracked
from edge.app import main
from edge.config import MotionConfig
from edge.evaluation.watch import watch
from edge.files import write_sweep
from edge.files.recording import write_recording
from edge.messages import Frame, Geometry
from edge.motion import open_motion
from edge.motion.accuracy import accuracy, chain_of_steps, grid, piece_drift_rate_percent, repeated
from edge.motion.constant import read_preset
from edge.simulation import SimulationSettings, as_frames, simulate_sweep

LEG = Path(__file__).parents[3] / "shared" / "data" / "leg"
SPINE = LEG.parent / "plus" / "SpinePhantomFreehand.igs.mha"
SPINE_CONFIG = LEG.parent / "plus" / "PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml"
TEST_SWEEP = LEG / "leg_0318_0509.igs.mha"
ADAPTATION = sorted(path for path in LEG.glob("leg_*.igs.mha") if path != TEST_SWEEP)
needs_leg = pytest.mark.skipif(not TEST_SWEEP.exists(), reason=f"{LEG} is not there")


def sweep(steps: np.ndarray, name: str = "a", lost: tuple[int, ...] = ()) -> TrackedSweep:
    adjacent = np.array([i not in lost for i in range(len(steps))])
    times = np.arange(len(steps) + 1, dtype=np.int64) * 40_000_000
    return TrackedSweep(Path(name), chain_of_steps(steps), adjacent, times, 10, 10, (0.1, 0.1))


def test_backward_sweeps_are_mirrored_before_they_are_averaged():
    forward = np.tile([0.1, 0, 0.4, 0, 0, 0.01], (10, 1))
    backward = np.tile([0.3, 0, -0.8, 0, 0.02, 0.01], (10, 1))
    preset = mean_motion([sweep(forward), sweep(backward, "b")])
    assert preset.motion == pytest.approx((0.2, 0, 0.6, 0, -0.01, 0.01))
    assert preset.spread == pytest.approx((0.1, 0, 0.2, 0, 0.01, 0), abs=1e-12)
    assert (preset.steps, preset.sweeps) == (20, ("a", "b"))
    assert preset.frame_interval_s == pytest.approx(0.04)


def test_a_step_over_a_lost_frame_does_not_count():
    steps = np.tile([0, 0, 0.5, 0, 0, 0.0], (6, 1))
    steps[2, 2] = 5
    assert mean_motion([sweep(steps, lost=(2,))]).motion[2] == pytest.approx(0.5)


@pytest.fixture(scope="module")
def preset_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("preset") / "leg.json"
    assert main(["calibrate", "constant", *map(str, ADAPTATION), "-o", str(path)]) == 0
    return path


@needs_leg
def test_the_leg_baselines_are_those_of_the_data_readme(preset_path):
    """15.3 % for the mean motion of the adaptation pieces, 73 % for none, 3.8 % for the sweep's own; 31.2 % over pieces."""
    preset = read_preset(preset_path)
    assert TEST_SWEEP.name not in preset.sweeps and preset.steps == 484
    true = read_tracked(TEST_SWEEP)
    points = grid(true.width, true.height, true.spacing_mm)

    def measured(step: np.ndarray) -> tuple[float, float, float]:
        chain = repeated(step, len(true.chain))
        found = accuracy(true.chain, chain, points)
        return found.final_drift_rate_percent, found.lpe_mm, piece_drift_rate_percent(true.chain, chain)

    assert measured(np.array(preset.motion)) == pytest.approx((15.3, 0.539, 31.2), rel=0.02)
    assert measured(np.zeros(6))[0] == pytest.approx(73, abs=0.5)
    assert measured(true.steps.mean(0))[0] == pytest.approx(3.8, abs=0.1)
    assert accuracy(true.chain, true.chain, points).path_mm == pytest.approx(139, abs=0.5)


@needs_leg
def test_the_preset_gives_the_same_motion_at_run_time(preset_path):
    preset = read_preset(preset_path)
    source = open_motion(MotionConfig(source="constant", preset=str(preset_path), direction="-"))
    frame = Frame(
        boot_id=1, sweep=0, sequence=0, timestamp_ns=0, geometry=Geometry(width=4, height=4, spacing_mm=(1, 1)),
        pixels=np.zeros((4, 4), np.uint8),
    )  # fmt: skip
    source.start(frame, frame.pixels)
    step = source.step(frame, frame.pixels, 1).center_to_previous
    assert step is not None
    assert step.matrix[2, 3] == pytest.approx(-preset.motion[2])


@needs_leg
def test_the_command_answers_in_json(tmp_path, capsys):
    backward = LEG / "leg_1014_1026.igs.mha"
    assert main(["calibrate", "constant", str(backward), "-o", str(tmp_path / "p.json"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["motion"][2] > 0 and told["steps"] == 12
    assert told["motion"] == json.loads((tmp_path / "p.json").read_text())["motion"]


def test_estimated_poses_are_no_ground_truth(tmp_path, capsys):
    sweep = simulate_sweep(SimulationSettings(frames=4, image_size=(20, 24), spacing_mm=(0.5, 0.5), speckle=False))
    poses = dict(enumerate(sweep.poses))
    write_sweep(tmp_path / "true.igs.mha", as_frames(sweep))
    write_sweep(tmp_path / "made-up.igs.mha", as_frames(sweep), poses=poses, pose_source="network: small")
    assert len(read_tracked(tmp_path / "true.igs.mha").steps) == 3
    with pytest.raises(NotTracked, match=r"estimated \(network: small\)"):
        read_tracked(tmp_path / "made-up.igs.mha")
    assert main(["calibrate", "constant", str(tmp_path / "made-up.igs.mha"), "-o", str(tmp_path / "p.json")]) == 1
    assert "not tracked" in capsys.readouterr().err
    with pytest.raises(NotTracked, match="estimated"):
        watch(tmp_path / "made-up.igs.mha", {})


def test_frames_of_light_in_between_are_no_missing_ones(tmp_path):
    settings = SimulationSettings(frames=40, image_size=(20, 24), spacing_mm=(0.5, 0.5), speckle=False, photoacoustic=True)
    sweep = simulate_sweep(settings)
    write_recording(tmp_path / "light.mcap", as_frames(sweep), {})
    write_recording(tmp_path / "lost.mcap", (frame for frame in as_frames(sweep) if frame.sequence not in (7, 10, 21)), {})
    whole, lost = read_tracked(tmp_path / "light.mcap"), read_tracked(tmp_path / "lost.mcap")
    assert len(whole.steps) == 19 and len(lost.chain) == 19
    assert not lost.adjacent[4] and lost.adjacent.sum() == 17, "only over the ultrasound frame that is lost"
    assert mean_motion([whole]).frame_interval_s == pytest.approx(2 * np.diff([frame.timestamp_ns for frame in sweep])[0] / 1e9)


@pytest.mark.skipif(not SPINE.exists(), reason=f"{SPINE} is not there")
def test_a_sweep_with_tracker_transforms_only_is_calibrated_with_its_plus_configuration(tmp_path, capsys):
    preset = tmp_path / "p.json"
    assert main(["calibrate", "constant", str(SPINE), "-o", str(preset)]) == 1
    assert "--plus-config" in capsys.readouterr().err
    assert main(["calibrate", "constant", str(SPINE), "--plus-config", str(SPINE_CONFIG), "-o", str(preset)]) == 0
    assert read_preset(preset).steps == 20


@needs_leg
def test_a_sweep_without_poses_is_refused(tmp_path, capsys):
    plain = tmp_path / "untracked.igs.mha"
    content = (LEG / "leg_1014_1026.igs.mha").read_bytes().replace(b"TransformStatus = OK", b"TransformStatus = NO")
    plain.write_bytes(content)
    with pytest.raises(NotTracked, match="no two frames with a pose"):
        read_tracked(plain)
    assert main(["calibrate", "constant", str(plain), "-o", str(tmp_path / "p.json")]) == 1
    assert "untracked.igs.mha" in capsys.readouterr().err
    assert not (tmp_path / "p.json").exists()
