"""The honest baseline: the probe moves evenly, at a preset speed or by the mean motion of earlier sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edge.messages import Frame
from edge.motion.source import Image, MotionFailed, MotionUnavailable, Step
from edge.transform import Transform, first_image_to_reference, motion

Six = tuple[float, float, float, float, float, float]


class BadPreset(MotionUnavailable):
    """A file is not a constant-motion preset."""


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mean motion from one frame to the next, in canonical direction (elevational >= 0).

    ``motion`` and ``spread`` (standard deviation over the steps): tx, ty, tz in mm, rx, ry, rz in rad, the order and
    the angles of ``transform.motion``.
    """

    kind: Literal["constant-motion"] = "constant-motion"
    format: Literal[1] = 1
    motion: Six
    spread: Six
    steps: int
    frame_interval_s: float  # median; a preset says nothing about a probe of another frame rate
    sweeps: tuple[str, ...]


def read_preset(path: Path) -> Preset:
    """The preset in a JSON file; ``BadPreset`` names the file and what is wrong with it."""
    cure = "make one with `sonosweep calibrate constant SWEEP... -o PRESET.json`"
    try:
        preset = msgspec.json.decode(path.read_bytes(), type=Preset)
    except OSError as wrong:
        raise BadPreset(f"{path}: {wrong.strerror}; {cure}") from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise BadPreset(f"{path}: is no constant-motion preset: {wrong}; {cure}") from wrong
    if preset.motion[2] < 0 or min(preset.spread) < 0:
        raise BadPreset(f"{path}: elevational motion and spread must be 0 or more, got {preset}; {cure}")
    return preset


class ConstantMotion:
    """Motion per second (``speed_mm_s``, elevational) or per frame (``preset``), canonical; lost frames repeat it."""

    name = "constant"
    relative = True
    backend = ""

    def __init__(self, speed_mm_s: float, preset: Preset | None = None) -> None:
        if not np.isfinite(speed_mm_s) or not 0 <= speed_mm_s <= 1000:
            raise MotionUnavailable(f"motion.speed_mm_s is {speed_mm_s}; a sweep has 0 to 1000 mm/s")
        self._speed_mm_s = speed_mm_s
        self._preset = preset
        self._step = motion(preset.motion[:3], preset.motion[3:]) if preset else None
        self._before_ns = 0

    def start(self, frame: Frame, image: Image) -> Step:
        """The first image lies in the plane z = 0 of Reference."""
        self._before_ns = frame.timestamp_ns
        return Step(image_to_reference=first_image_to_reference(frame.geometry.spacing_mm))

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """The preset motion once per elapsed frame, or the preset speed times the probe's elapsed time."""
        elapsed_ns, self._before_ns = frame.timestamp_ns - self._before_ns, frame.timestamp_ns
        if self._preset is None or self._step is None:
            if elapsed_ns < 0:
                raise MotionFailed(f"the probe's clock ran back by {-elapsed_ns / 1e9:g} s at frame {frame.sequence}")
            return Step(center_to_previous=motion((0, 0, self._speed_mm_s * elapsed_ns / 1e9), (0, 0, 0)))
        # A hand's steps are alike from frame to frame: the spread grows with their number and not with its root.
        spread = tuple(s * elapsed_frames for s in self._preset.spread)
        if elapsed_frames == 1:
            return Step(center_to_previous=self._step, uncertainty=spread)
        repeated = np.linalg.matrix_power(self._step.matrix, elapsed_frames)
        repeated[3] = (0, 0, 0, 1)
        return Step(center_to_previous=Transform("Center", "PreviousCenter", repeated), uncertainty=spread)
