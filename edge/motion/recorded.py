"""Poses that came with the frames: a tracked probe on the wire, or a sequence file with its transforms."""

from __future__ import annotations

from edge.messages import Frame
from edge.motion.source import Image, Step
from edge.transform import BadTransform

NO_POSE = "the frame carries no pose"
REASONS = {"missing": NO_POSE, "ok": NO_POSE, "invalid": "the tracker did not see the probe"}


class RecordedMotion:
    """Absolute poses; a lost frame costs nothing but itself, and the operator's direction is not needed."""

    name = "recorded"
    relative = False
    backend = ""

    def start(self, frame: Frame, image: Image) -> Step:
        """As every other frame."""
        return self.step(frame, image, 1)

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """The frame's own ImageToReference."""
        try:
            pose = frame.pose
        except BadTransform as wrong:
            return Step(reason=str(wrong))
        return Step(reason=REASONS[frame.pose_status]) if pose is None else Step(image_to_reference=pose)
