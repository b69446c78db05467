"""What is told beside an estimated path: only tracked poses are truth, and the constant motion goes the way that the operator went."""

import msgspec
import numpy as np
import pytest

from edge.commands.accuracy import Truth, accuracy, told
from edge.messages import Frame, Geometry

GEOMETRY = Geometry(width=8, height=6, spacing_mm=(0.5, 0.5))
PIXELS = np.zeros((6, 8), np.uint8)


def straight(speed_mm_s: float, frames: int = 5) -> list[Frame]:
    """Frames 0.1 s apart of a tracked probe that goes straight and evenly."""
    return [
        Frame(
            boot_id=1,
            sweep=0,
            sequence=n,
            timestamp_ns=n * 10**8,
            geometry=GEOMETRY,
            pixels=PIXELS,
            pose_status="ok",
            image_to_reference=(0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 1, speed_mm_s * n / 10, 0, 0, 0, 1),
        )
        for n in range(frames)
    ]


def noted(frames: list[Frame]) -> Truth:
    truth = Truth()
    for frame in frames:
        truth.note(frame)
    return truth


def test_poses_that_are_estimated_or_broken_or_missing_are_no_truth():
    first, *others = straight(8.0)
    changes = [
        {"pose_source": "network: small"},
        {"image_to_reference": (float("nan"),) * 16},
        {"pose_status": "invalid"},
        {"modality": "photoacoustic"},
    ]
    truth = noted([first, *(msgspec.structs.replace(frame, **change) for frame, change in zip(others, changes, strict=True))])
    assert list(truth.poses) == list(truth.timestamps_ns) == [0]
    assert accuracy("network: small", "+", truth, truth.poses, (8, 6), 10.0) == told([]) == []


@pytest.mark.parametrize("direction", ["+", "-"])
def test_the_constant_motion_goes_the_operators_way(direction):
    truth = noted(straight(8.0 if direction == "+" else -8.0))
    rows = {row.pop("motion"): row for row in accuracy("network: small", direction, truth, truth.poses, (8, 6), 10.0)}
    assert list(rows) == ["network: small", "constant 10 mm/s", "no motion", "own mean motion (not knowable)"]
    drifts = [row["final_drift_rate_percent"] for row in rows.values()]
    assert drifts == pytest.approx([0, 25, 100, 0]), "10 mm/s instead of 8 is a quarter too far"
