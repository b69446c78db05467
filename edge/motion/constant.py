"""The honest baseline: the probe moves evenly, at a preset speed or by the mean motion of earlier sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edge.compounding.image import Image
from edge.messages import Frame
from edge.motion.source import MotionFailed, MotionUnavailable, Step
from edge.transform import Transform, first_image_to_reference, motion

JUDGED_STEPS = 10
SHORT_QUARTER = 0.25  # the frame rate shows in the shorter steps: where frames were dropped unnoticed, steps are only longer
INTERVAL_AGREES = 0.1  # relative; on tracked legs at 20 frames/s that quantile lies within 8 % of their median
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
    """Motion per second (``speed_mm_s``, elevational) or per frame (``preset``), canonical; lost frames repeat it.

    A preset holds for the frame rate that it was made at: a sweep whose first steps show another one is refused.
    """

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
        self._intervals_s: list[float] = []

    def start(self, frame: Frame, image: Image) -> Step:
        """The first image lies in the plane z = 0 of Reference."""
        self._before_ns = frame.timestamp_ns
        self._intervals_s.clear()
        return Step(image_to_reference=first_image_to_reference(frame.geometry.spacing_mm))

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """The preset motion once per elapsed frame, or the preset speed times the probe's elapsed time.

        ``MotionFailed`` at the tenth step where the frames come at another rate than the preset is for.
        """
        elapsed_ns, self._before_ns = frame.timestamp_ns - self._before_ns, frame.timestamp_ns
        if self._preset is None or self._step is None:
            if elapsed_ns < 0:
                raise MotionFailed(f"the probe's clock ran back by {-elapsed_ns / 1e9:g} s at frame {frame.sequence}")
            return Step(center_to_previous=motion((0, 0, self._speed_mm_s * elapsed_ns / 1e9), (0, 0, 0)))
        self._judge(elapsed_ns / 1e9 / elapsed_frames, self._preset)
        # A hand's steps are alike from frame to frame: the spread grows with their number and not with its root.
        spread = tuple(s * elapsed_frames for s in self._preset.spread)
        if elapsed_frames == 1:
            return Step(center_to_previous=self._step, uncertainty=spread)
        repeated = np.linalg.matrix_power(self._step.matrix, elapsed_frames)
        repeated[3] = (0, 0, 0, 1)
        return Step(center_to_previous=Transform("Center", "PreviousCenter", repeated), uncertainty=spread)

    def _judge(self, interval_s: float, preset: Preset) -> None:
        if len(self._intervals_s) == JUDGED_STEPS:
            return
        self._intervals_s.append(interval_s)
        if len(self._intervals_s) < JUDGED_STEPS:
            return
        found_s = float(np.quantile(self._intervals_s, SHORT_QUARTER))
        if abs(found_s - preset.frame_interval_s) > INTERVAL_AGREES * preset.frame_interval_s:
            raise MotionFailed(
                f"the frames come {found_s * 1e3:.1f} ms apart, the constant-motion preset is for {preset.frame_interval_s * 1e3:.1f} ms; "
                "make one from sweeps at this frame rate (`sonosweep calibrate constant`), or give motion.speed_mm_s and no preset"
            )
