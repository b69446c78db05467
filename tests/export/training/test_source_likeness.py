"""The measures that hold simulated images against real ones, on images whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.files import write_sweep  # noqa: E402
from edge.messages import Frame, Geometry  # noqa: E402
from export.training.likeness import autocorrelation, high_passed, peak_correlation, textured, zero_shift  # noqa: E402
from export.training.proof import NotComparable, speckle_rows, step_rows, tracked_images  # noqa: E402


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(120, 15, (frames, 110, 130)), 0, 255).astype(np.uint8)


def test_white_noise_has_no_autocorrelation_and_is_texture() -> None:
    images = noise(2)
    high = high_passed(images)
    mask = textured(images, high)
    assert mask[:, 50:].float().mean() > 0.95 and not mask[:, :50].any()
    assert abs(autocorrelation(high, mask, 0, 2)) < 0.06 and abs(autocorrelation(high, mask, 1, 0)) < 0.06


def test_the_peak_finds_what_moved_and_zero_shift_does_not() -> None:
    first = noise(1)[0]
    moved = np.roll(first, (3, -7), (0, 1))
    high = high_passed(np.stack([first, moved]))
    assert peak_correlation(high[0], high[1]) > 0.95
    chain = np.stack([np.eye(4), np.eye(4)])
    chain[1, 0, 3] = 0.75
    assert abs(zero_shift(high, chain, 1)[0]) < 0.1
    chain[1, 0, 3] = 0.1
    assert not zero_shift(high, chain, 1)  # too near to tell persistence from tissue


def test_the_proof_tells_law_and_measure_of_speckle_and_steps() -> None:
    rows = speckle_rows(points=8000)
    assert all(abs(row["measured"] - row["expected"]) < 0.2 for row in rows)
    steps = step_rows(sweeps=40)
    assert [row["step"] for row in steps][:3] == ["tx mm", "ty mm", "tz mm"] and 0.4 < steps[2]["mean"] < 1.0


def test_images_of_another_pixel_size_are_not_compared(tmp_path: Path) -> None:
    geometry = Geometry(width=8, height=8, spacing_mm=(0.3, 0.3))
    pose = tuple(np.eye(4).ravel().tolist())
    blank = np.zeros((8, 8), np.uint8)
    frame = Frame(
        boot_id=1, sweep=1, sequence=0, timestamp_ns=0, geometry=geometry, pose_status="ok", image_to_reference=pose, pixels=blank
    )
    write_sweep(tmp_path / "coarse.igs.mha", [frame])
    with pytest.raises(NotComparable, match=r"0\.12 mm"):
        list(tracked_images([tmp_path / "coarse.igs.mha"]))
