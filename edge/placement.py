"""Where a frame lies: pure geometry for the reconstructor."""

from __future__ import annotations

import numpy as np

from edge.compounding.image import Image
from edge.messages import Frame, Geometry
from edge.motion import Step
from edge.scan_geometry import first_row_mm
from edge.sweep_state import SweepState
from edge.transform import Transform, image_to_center, image_to_face, interpolated

FASTEST_PROBE_MM_S = 2000.0  # a pose that would need more is a tracker's outlier: one of them would tear the volume open
POSE_JITTER_MM = 50.0
SMALLEST_PIXEL_MM2 = 1e-9


def pose_of(sweep: SweepState, frame: Frame, image: Image, step: Step) -> Transform | None:
    """ImageToReference from a source's answer: absolute as it is, relative chained to the last B-mode pose; None without either."""
    if step.image_to_reference is not None or step.center_to_previous is None:
        return step.image_to_reference
    if sweep.pose is None:
        return None
    to_center = image_to_center(image.shape[1], image.shape[0], frame.geometry.spacing_mm)
    previous = sweep.pose @ to_center.inverse()  # CenterToReference of the frame before
    return Transform("PreviousCenter", "Reference", previous.matrix) @ step.center_to_previous @ to_center


def between(sweep: SweepState, at_ns: int, pose: Transform, pose_ns: int) -> Transform:
    """ImageToReference of a B-mode image at ``at_ns``, between the last one's pose and ``pose``."""
    span = pose_ns - sweep.pose_ns
    if sweep.pose is None or span <= 0:
        return pose
    return interpolated(sweep.pose, pose, min(max((at_ns - sweep.pose_ns) / span, 0.0), 1.0))


def on_face(at: Transform, frame: Frame, image: Image, bmode: Geometry, bmode_columns: int) -> Transform | None:
    """``at`` of the B-mode image as the pose of another image from the same transducer face.

    Convex images meet where the probe's beams do, whatever their sectors are. None for a convex and a linear one: a linear image does
    not say where its first row lies on a curved face.
    """
    if frame.geometry == bmode:
        return at
    if frame.geometry.kind != bmode.kind:
        return None
    face_to_bmode = image_to_face(bmode_columns, bmode.spacing_mm, first_row_mm(bmode)).inverse()
    return at @ face_to_bmode @ image_to_face(image.shape[1], frame.geometry.spacing_mm, first_row_mm(frame.geometry))


def impossible(sweep: SweepState, frame: Frame, pose: Transform) -> str:
    """Why no image lies at ``pose``, or why no probe can have come there from the last placed one; empty where it can."""
    if np.linalg.norm(np.cross(pose.matrix[:3, 0], pose.matrix[:3, 1])) < SMALLEST_PIXEL_MM2:
        return f"frame {frame.sequence}: the image has no area in Reference"
    if sweep.placed_at_mm is None:
        return ""
    elapsed_s = abs(frame.timestamp_ns - sweep.placed_ns) / 1e9
    jump_mm = float(np.linalg.norm(pose.matrix[:3, 3] - sweep.placed_at_mm))
    if jump_mm <= POSE_JITTER_MM + FASTEST_PROBE_MM_S * elapsed_s:
        return ""
    return f"frame {frame.sequence} lies {jump_mm:.0f} mm from the one placed {elapsed_s:.3f} s before it"
