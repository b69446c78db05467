"""Recorded and constant motion, and the operator's direction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge.config import MotionConfig
from edge.messages import Frame, Geometry
from edge.motion import SOURCES, open_motion
from edge.motion.constant import BadPreset, ConstantMotion, Preset, read_preset
from edge.motion.recorded import provenance
from edge.motion.source import MotionFailed, MotionUnavailable
from edge.transform import motion, motion_parameters

IMAGE = np.zeros((8, 10), np.uint8)
LINEAR = Geometry(width=10, height=8, spacing_mm=(0.2, 0.3))
PRESET = Preset(motion=(0.1, 0.0, 0.5, 0.0, 0.01, 0.02), spread=(0.1,) * 6, steps=10, frame_interval_s=0.05, sweeps=("a",))


def frame(number: int, **pose: Any) -> Frame:
    return Frame(boot_id=1, sweep=0, sequence=number, timestamp_ns=number * 50_000_000, geometry=LINEAR, pixels=IMAGE, **pose)


def preset_file(folder: Path, text: str) -> Path:
    path = folder / "preset.json"
    path.write_text(text)
    return path


def test_recorded_poses_are_absolute_and_a_frame_without_one_says_why():
    source = open_motion(MotionConfig(source="recorded", direction="-"))
    pose = np.diag([0.2, 0.3, 1.0, 1.0])
    pose[:3, 3] = 1, 2, 3
    answer = source.start(frame(0, pose_status="ok", image_to_reference=tuple(pose.ravel())), IMAGE)
    assert answer.image_to_reference is not None
    assert answer.image_to_reference.matrix[2, 3] == 3, "the operator's direction has no say in recorded poses"
    assert not source.relative
    assert source.step(frame(1), IMAGE, 1).reason == "the frame carries no pose"
    assert source.step(frame(2, pose_status="invalid"), IMAGE, 1).reason == "the tracker did not see the probe"


def test_estimated_poses_are_recorded_ones_that_say_so():
    source = open_motion(MotionConfig(source="recorded"))
    pose = {"pose_status": "ok", "image_to_reference": tuple(np.diag([0.2, 0.3, 1.0, 1.0]).ravel().tolist())}
    estimated = {"pose_source": "network: small", "pose_direction": "-", "pose_direction_source": "preset"}
    assert source.start(frame(0, **pose, **estimated), IMAGE).image_to_reference is not None
    assert source.name == "recorded (network: small)"
    source.start(frame(0, **pose), IMAGE)
    assert source.name == "recorded", "the next sweep is tracked again"
    assert provenance(frame(0, **pose)) == ("recorded", "tracked", "tracked")
    assert provenance(frame(0, **pose, **estimated)) == ("recorded (network: small)", "-", "preset")
    assert provenance(frame(0, **pose, pose_source="constant")) == ("recorded (constant)", "unknown", "unknown")


def test_a_pose_that_is_no_transform_is_a_reason_and_not_a_crash():
    bad = frame(0, pose_status="ok", image_to_reference=(float("nan"),) * 16)
    assert "ImageToReference" in SOURCES["recorded"](MotionConfig()).start(bad, IMAGE).reason


def test_constant_speed_follows_the_probes_clock():
    source = open_motion(MotionConfig(source="constant", speed_mm_s=10))
    first = source.start(frame(0), IMAGE).image_to_reference
    assert first is not None
    assert np.array_equal(first.matrix, np.diag([0.2, 0.3, 1, 1]))
    step = source.step(frame(3), IMAGE, 3).center_to_previous
    assert step is not None
    assert motion_parameters(step) == pytest.approx([0, 0, 1.5, 0, 0, 0])
    with pytest.raises(MotionFailed, match=r"ran back by 0\.05 s"):
        source.step(frame(2), IMAGE, 1)


@pytest.mark.parametrize(("direction", "sign"), [("+", 1), ("-", -1), ("", 1)])
def test_a_preset_is_repeated_in_the_operators_direction(tmp_path, direction, sign):
    path = preset_file(tmp_path, msgspec.json.encode(PRESET).decode())
    source = open_motion(MotionConfig(source="constant", preset=str(path), direction=direction))
    source.start(frame(0), IMAGE)
    step = source.step(frame(1), IMAGE, 1)
    assert step.center_to_previous is not None
    assert motion_parameters(step.center_to_previous) == pytest.approx([0.1, 0, sign * 0.5, 0, sign * 0.01, 0.02])
    assert step.uncertainty == PRESET.spread


def test_lost_frames_repeat_the_preset_motion_and_widen_its_uncertainty():
    source = ConstantMotion(0, PRESET)
    source.start(frame(0), IMAGE)
    step = source.step(frame(3), IMAGE, 3)
    one = motion(PRESET.motion[:3], PRESET.motion[3:]).matrix
    assert step.center_to_previous is not None
    assert np.allclose(step.center_to_previous.matrix, one @ one @ one)
    assert step.uncertainty == pytest.approx((0.3,) * 6)


def steps(intervals_ms: list[float], elapsed: list[int] | None = None) -> ConstantMotion:
    """A preset's motion along frames so far apart."""
    source, at_ns = ConstantMotion(0, PRESET), 0
    source.start(frame(0), IMAGE)
    for interval_ms, frames in zip(intervals_ms, elapsed or [1] * len(intervals_ms), strict=True):
        at_ns += round(interval_ms * 1e6)
        source.step(msgspec.structs.replace(frame(0), timestamp_ns=at_ns), IMAGE, frames)
    return source


@pytest.mark.parametrize("interval_ms", [33.3, 56.0, 100.0, 0.0])
def test_a_preset_of_another_frame_rate_is_refused_with_the_cure(interval_ms):
    steps([interval_ms] * 9)
    with pytest.raises(MotionFailed, match=r"50\.0 ms.*sonosweep calibrate constant"):
        steps([interval_ms] * 10)


def test_dropped_frames_and_jitter_do_not_look_like_another_frame_rate():
    steps([54, 53, 49, 48, 54, 45, 51, 50, 48, 49])
    steps([110, 98, 48, 99, 53, 97, 140, 47, 50, 51])  # dropped on the way, and numbered as if they had not been
    steps([50, 150, 50, 100] * 5, [1, 3, 1, 2] * 5)


def test_every_sweep_is_judged_anew():
    source = steps([50.0] * 12)
    source.start(frame(0), IMAGE)
    with pytest.raises(MotionFailed):
        for number in range(1, 11):
            source.step(msgspec.structs.replace(frame(0), timestamp_ns=number * 33_000_000), IMAGE, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "missing required field"),
        ("[", "is no constant-motion preset"),
        ('{"speed": 3}', "unknown field"),
        ("\xff", "is no"),
    ],
)
def test_a_wrong_preset_is_refused_by_its_name(tmp_path, text, said):
    with pytest.raises(BadPreset, match=said) as wrong:
        read_preset(preset_file(tmp_path, text))
    assert "preset.json" in str(wrong.value)


def test_a_preset_that_is_not_there_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(BadPreset, match="sonosweep calibrate constant"):
        read_preset(tmp_path / "none.json")


def test_a_speed_no_probe_has_is_refused():
    with pytest.raises(MotionUnavailable, match="mm/s"):
        open_motion(MotionConfig(source="constant", speed_mm_s=float("nan")))
