"""Batches, fitting to a probe and measuring: what is done to a sequence is done to its motion too."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'sonosweep[train]')")

from torch import nn  # noqa: E402

from edge.motion.accuracy import CANONICAL_SIGN, chain_of_steps  # noqa: E402
from export.training.adapt import Mixed, normalise_to  # noqa: E402
from export.training.data import NoTrainingSweeps  # noqa: E402
from export.training.sweeps import TrainingSweep  # noqa: E402
from export.training.trainer_batches import SweepBatches, Variation  # noqa: E402
from export.training.trainer_measure import compare, mean_of, measure, trust_errors  # noqa: E402

PLAIN = Variation(mirrored=0, reversed=0, skipping=0, gain=0, contrast=0)
SPACING = (0.5, 0.25)


def numbered(frames: int = 12, first: int = 0, size: int = 6) -> TrainingSweep:
    """Frame n is grey n, brighter to the right; every step is another one."""
    rng = np.random.default_rng(first)
    windows = np.arange(first, first + frames, dtype=np.uint8)[:, None, None] + np.arange(size, dtype=np.uint8) * 20
    motion = rng.normal((0, 0, 0.6, 0, 0, 0), (0.3, 0.1, 0.2, 0.002, 0.002, 0.004), (frames - 1, 6)).astype(np.float32)
    return TrainingSweep(np.broadcast_to(windows, (frames, size, size)).copy(), motion, SPACING, f"numbered_{first}")


def drawn(how: Variation, count: int = 20, frames: int = 5) -> tuple[TrainingSweep, np.ndarray, np.ndarray]:
    sweep = numbered()
    images, motion = SweepBatches([sweep], how)(np.random.default_rng(3), count, frames)
    assert images.shape == (count, frames, 1, 6, 6) and images.dtype == np.uint8
    assert motion.shape == (count, frames - 1, 6) and motion.dtype == np.float32
    return sweep, images[:, :, 0], motion


def test_a_sequence_comes_with_the_motion_of_its_frames():
    sweep, images, motion = drawn(PLAIN)
    firsts = images[:, 0, 0, 0].astype(int)
    assert set(firsts) == set(range(8))
    for first, steps in zip(firsts, motion, strict=True):
        assert np.array_equal(steps, sweep.motion[first : first + 4])


def test_a_mirrored_sequence_moves_the_other_way():
    sweep, images, motion = drawn(Variation(mirrored=1, reversed=0, skipping=0, gain=0, contrast=0))
    assert (images[:, 0, 0, 0] > images[:, 0, 0, -1]).all()
    first = int(images[0, 0, 0, -1])
    flip = np.diag([-1, 1, 1, 1])
    ours, theirs = chain_of_steps(motion[0]), chain_of_steps(sweep.motion[first : first + 4])
    assert np.allclose(ours, flip @ theirs @ flip, atol=1e-6)


def test_a_reversed_sequence_is_the_way_back_in_canonical_direction():
    sweep, images, motion = drawn(Variation(mirrored=0, reversed=1, skipping=0, gain=0, contrast=0))
    first = int(images[0, -1, 0, 0])
    there = chain_of_steps(sweep.motion[first : first + 4])
    back = chain_of_steps(motion[0] * CANONICAL_SIGN)
    assert np.allclose(back[-1], np.linalg.inv(there[-1]), atol=1e-6)
    assert (motion[:, :, 2].mean(1) > 0).all()


def test_steps_over_frames_left_out_add_up():
    sweep, images, motion = drawn(Variation(mirrored=0, reversed=0, skipping=1, skips=0.5, gain=0, contrast=0))
    gaps = np.diff(images[:, :, 0, 0].astype(int), axis=1)
    assert set(gaps.ravel()) == {1, 2}
    for numbers, steps in zip(images[:, :, 0, 0].astype(int), motion, strict=True):
        whole = chain_of_steps(sweep.motion[numbers[0] : numbers[-1]])
        assert np.allclose(chain_of_steps(steps)[-1], whole[-1], atol=1e-5)


def test_brighter_and_darker_changes_grey_and_nothing_else():
    sweep, images, motion = drawn(Variation(mirrored=0, reversed=0, skipping=0, gain=20, contrast=0.2))
    assert len(set(images[:, 0, 0, 3].tolist())) > 8
    assert {tuple(m[0]) for m in motion} <= {tuple(m) for m in sweep.motion}


def test_sweeps_too_short_for_a_sequence_are_left_out_and_nothing_left_is_said():
    short, long = numbered(4), numbered(9, first=100)
    images, _ = SweepBatches([short, long], PLAIN)(np.random.default_rng(0), 10, 6)
    assert (images[:, 0, 0, 0, 0] >= 100).all()
    with pytest.raises(NoTrainingSweeps, match="6 frames"):
        SweepBatches([short], PLAIN)(np.random.default_rng(0), 1, 6)
    with pytest.raises(NoTrainingSweeps):
        SweepBatches([])


def test_a_mixed_batch_has_the_share_asked_for():
    mixed = Mixed(SweepBatches([numbered()], PLAIN), SweepBatches([numbered(first=100)], PLAIN), 0.25)
    images, motion = mixed(np.random.default_rng(0), 400, 4)
    assert images.shape[0] == motion.shape[0] == 400
    assert 0.15 < (images[:, 0, 0, 0, 0] >= 100).mean() < 0.35
    alone, _ = Mixed(SweepBatches([numbered()], PLAIN), SweepBatches([numbered(first=100)], PLAIN), 0.0)(np.random.default_rng(0), 4, 4)
    assert (alone[:, 0, 0, 0, 0] < 100).all()


class Pixel(nn.Module):
    """Says the elevational step that a frame's grey is, ten grey values to the millimetre; for tests."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("output_scale", torch.tensor([0.5, 0.25, 1.0, 0.003, 0.003, 0.002]))
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.head = nn.Linear(1, 12)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, frames):
        b, t = frames.shape[:2]
        grey = self.norm(frames.flatten(0, 1)).reshape(b, t, -1).mean(2, keepdim=True)
        out = self.head(grey[:, 1:])
        return out[..., :6] * self.output_scale, out[..., 6:]


def test_statistics_are_those_of_all_images_together():
    module, sweeps = Pixel(), [numbered(16), numbered(8, first=90)]
    assert normalise_to(module, sweeps) == 24
    pixels = np.concatenate([sweep.windows.ravel() for sweep in sweeps]).astype(np.float64)
    assert float(module.norm.running_mean) == pytest.approx(pixels.mean(), rel=1e-5)
    assert float(module.norm.running_var) == pytest.approx(pixels.var(), rel=0.01)
    assert module.norm.momentum == 0.1 and not module.norm.training


def test_the_standard_deviations_hold_their_share_of_the_errors():
    sweep, module = numbered(200), Pixel()
    before = measure(module, sweep, np.zeros(6)).within
    memory = trust_errors(module, [sweep])
    after = measure(module, sweep, np.zeros(6)).within
    assert memory.lasting[2] > 0.5 > 0.2 > memory.lasting[0]  # it misses every elevational step by about as much; the others as they come
    assert before["68%"] != pytest.approx(0.68, abs=0.02)
    assert after["68%"] == pytest.approx(0.68, abs=0.02)


def test_the_truth_has_no_drift_and_the_mean_motion_is_its_own_baseline():
    sweep = numbered(120)
    perfect = compare(sweep, sweep.motion.astype(np.float64), np.ones((119, 6)), np.zeros(6))
    assert perfect.final_drift_rate_percent == pytest.approx(0, abs=1e-3) and perfect.lpe_mm == pytest.approx(0, abs=1e-5)
    assert all(value == pytest.approx(1) for value in perfect.correlation.values())
    mean = sweep.motion.mean(0, dtype=np.float64)
    constant = compare(sweep, np.tile(mean, (119, 1)), np.ones((119, 6)), mean)
    assert constant.lpe_mm == pytest.approx(constant.constant["lpe_mm"])
    assert set(constant.correlation.values()) == {0.0}
    both = mean_of([perfect, constant], "both")
    assert both.lpe_mm == pytest.approx((perfect.lpe_mm + constant.lpe_mm) / 2)


def test_a_sweep_too_short_for_pieces_has_no_piece_drift():
    found = compare(numbered(30), np.zeros((29, 6)), np.ones((29, 6)), np.zeros(6))
    assert np.isnan(found.piece_drift_rate_percent) and found.final_drift_rate_percent > 50
