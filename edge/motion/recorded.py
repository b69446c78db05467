"""Poses that came with the frames: a tracked probe on the wire, or a sequence file with its transforms.

A file may also hold poses that were estimated. They are placed as they are, but they never pass as a tracker's.
"""

from __future__ import annotations

from pathlib import Path

from edge.compounding.image import Image
from edge.errors import SonosweepError
from edge.messages import Frame
from edge.motion.source import Step
from edge.transform import BadTransform

NO_POSE = "the frame carries no pose"
REASONS = {"missing": NO_POSE, "ok": NO_POSE, "invalid": "the tracker did not see the probe"}
NAME = "recorded"
TRACKED = "tracked"


class NotTracked(SonosweepError):
    """A sweep has no tracked poses, or too few of them, to calibrate or measure with."""


def provenance(frame: Frame) -> tuple[str, str, str]:
    """Motion, direction and direction_source of a sweep that is placed by its own poses.

    Of a tracker: ``recorded``, ``tracked``, ``tracked``. Of estimated poses ``recorded (network: small)`` and what was said when
    they were estimated; a direction that nobody wrote down is ``unknown``.
    """
    source, direction, direction_source = frame.pose_origin
    if not source:
        return NAME, TRACKED, TRACKED
    return f"{NAME} ({source})", direction or "unknown", direction_source or "unknown"


def check_tracked(path: Path, frame: Frame) -> None:
    """``NotTracked`` where the poses of ``frame`` were estimated: they are no truth to calibrate or measure with."""
    if frame.pose_source:
        raise NotTracked(f"{path}: its poses were estimated ({frame.pose_source}) and not tracked; give a sweep of a tracked probe")


class RecordedMotion:
    """Absolute poses; a lost frame costs nothing but itself, and the operator's direction is not needed.

    ``name`` says from the sweep's first frame on whether its poses were estimated: see :func:`provenance`.
    """

    name = NAME
    relative = False
    backend = ""

    def start(self, frame: Frame, image: Image) -> Step:
        """As every other frame."""
        return self.step(frame, image, 1)

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """The frame's own ImageToReference."""
        self.name = provenance(frame)[0]
        try:
            pose = frame.pose
        except BadTransform as wrong:
            return Step(reason=str(wrong))
        return Step(reason=REASONS[frame.pose_status]) if pose is None else Step(image_to_reference=pose)
