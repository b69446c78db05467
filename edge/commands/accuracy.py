"""What `reconstruct` and `demo` tell where motion was estimated in a sweep that is tracked as well: how far the two are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.console import table
from edge.evaluation.comparison import COLUMNS, compare
from edge.messages import Frame, Geometry
from edge.transform import BadTransform, Transform, first_image_to_reference

Rows = list[dict[str, Any]]


@dataclass
class Truth:
    """The tracked B-mode frames of a sweep, noted as they pass: ImageToReference and the probe's time, by sequence number.

    Poses that were estimated, or that are no poses, are no truth, and are not noted.
    """

    poses: dict[int, Transform] = field(default_factory=dict)
    timestamps_ns: dict[int, int] = field(default_factory=dict)
    geometry: Geometry | None = None

    def note(self, frame: Frame) -> None:
        """Remember the frame's pose, where it is a tracker's."""
        if frame.modality != "bmode" or frame.pose_source:
            return
        try:
            pose = frame.pose
        except BadTransform:  # where poses are placed by, the frame is counted as unplaced; here it only does not count
            return
        if pose is not None:
            self.poses[frame.sequence], self.timestamps_ns[frame.sequence] = pose, frame.timestamp_ns
            self.geometry = self.geometry or frame.geometry


def accuracy(
    name: str,
    direction: str,
    truth: Truth,
    estimated: Mapping[int, Transform],
    size: tuple[int, int],
    speed_mm_s: float,
) -> Rows:
    """Rows of measures: the estimate ``name``, then the baselines. Empty where the sweep is not tracked or the probe did not move.

    ``speed_mm_s``: elevational speed of the constant motion that stands beside the estimate, where that is no constant motion itself:
    what `--motion constant` would have done here. ``size`` (columns, rows) is of the placed image.
    """
    if truth.geometry is None:
        return []
    rows = compare(name, truth.poses, estimated, truth.geometry, size)
    if rows and name != "constant":
        steady = even(truth.timestamps_ns, truth.geometry, speed_mm_s if direction == "+" else -speed_mm_s)
        shared = {sequence: pose for sequence, pose in steady.items() if sequence in estimated}
        rows[1:1] = compare(f"constant {speed_mm_s:g} mm/s", truth.poses, shared, truth.geometry, size)[:1]
    return rows


def told(rows: Rows) -> list[str]:
    """The rows as text: the first against the constant motion in one line, and all in a table. Nothing where there are none."""
    if not rows:
        return []
    own, constant = rows[:2]
    head = f"against the tracked poses of the same sweep ({own['path_mm']:.1f} mm; --motion recorded would place it by them):"
    ends = f"{own['motion']} ends {own['final_drift_mm']:.1f} mm off ({own['final_drift_rate_percent']:.1f} %)"
    beside = f"{constant['motion']} ends {constant['final_drift_mm']:.1f} mm off ({constant['final_drift_rate_percent']:.1f} %)"
    return ["", head, table(rows, COLUMNS), f"{ends}; {beside}"]


def even(timestamps_ns: Mapping[int, int], geometry: Geometry, speed_mm_s: float) -> dict[int, Transform]:
    """ImageToReference of frames taken by a probe that moves elevationally, straight and evenly."""
    first = first_image_to_reference(geometry.spacing_mm)
    poses, start_ns = {}, min(timestamps_ns.values(), default=0)
    for sequence, at_ns in timestamps_ns.items():
        matrix = first.matrix.copy()
        matrix[2, 3] = speed_mm_s * (at_ns - start_ns) / 1e9
        poses[sequence] = Transform("Image", "Reference", matrix)
    return poses
