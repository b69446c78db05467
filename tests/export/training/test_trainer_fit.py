"""Batches, fitting to a probe and measuring: what is done to a sequence is done to its motion too."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'sonosweep[train]')")

from torch import nn  # noqa: E402

from edge.motion.accuracy import CANONICAL_SIGN, chain_of_steps  # noqa: E402
from export.training.adapt import Mixed, normalise_to  # noqa: E402
from export.training.augment import cluttered, grabbed, grainy, remembered, structured  # noqa: E402
from export.training.data import NoTrainingSweeps, Sweeps  # noqa: E402
from export.training.sweeps import TrainingSweep, reversed_motion  # noqa: E402
from export.training.trainer_batches import FADING, Shelf, SweepBatches, Variation, varied  # noqa: E402
from export.training.trainer_measure import compare, mean_of, measure, trust_errors, widen  # noqa: E402

PLAIN = Variation(**{what: 0.0 for what in Variation.__struct_fields__})
SPACING = (0.5, 0.25)


class Looks:
    """A network that keeps the windows as they are, and counts how often it was asked."""

    def __init__(self) -> None:
        self.seen = 0

    def see(self, windows):
        self.seen += 1
        return windows

    def mirrored(self, seen):
        return seen.flip(-1)


def numbered(frames: int = 12, first: int = 0, size: int = 6) -> TrainingSweep:
    """Frame n is grey n, brighter to the right; every step is another one."""
    rng = np.random.default_rng(first)
    windows = np.arange(first, first + frames, dtype=np.uint8)[:, None, None] + np.arange(size, dtype=np.uint8) * 20
    motion = rng.normal((0, 0, 0.6, 0, 0, 0), (0.3, 0.1, 0.2, 0.002, 0.002, 0.004), (frames - 1, 6)).astype(np.float32)
    return TrainingSweep(np.broadcast_to(windows, (frames, size, size)).copy(), motion, SPACING, f"numbered_{first}")


def drawn(how: Variation, count: int = 20, frames: int = 5, takes: int = 1) -> tuple[TrainingSweep, np.ndarray, np.ndarray]:
    sweep = numbered()
    found = SweepBatches(Sweeps([sweep]), Looks(), how, takes=takes)(np.random.default_rng(3), count, frames)
    assert found.seen.shape == (count, frames, 6, 6) and found.seen.dtype == torch.uint8
    assert found.motion.shape == (count, frames - 1, 6) and found.motion.dtype == torch.float32
    assert found.intervals.shape == (count, frames - 1)
    return sweep, found.seen.numpy(), found.motion.numpy()


def changed(**how: float) -> Variation:
    return msgspec.structs.replace(PLAIN, **how)


def test_a_sequence_comes_with_the_motion_of_its_frames_and_often_from_the_start_of_its_sweep():
    sweep, images, motion = drawn(PLAIN, 60)
    firsts = images[:, 0, 0, 0].astype(int)
    assert set(firsts) == set(range(8)) and 25 < (firsts == 0).sum() < 50
    for first, steps in zip(firsts, motion, strict=True):
        assert np.array_equal(steps, sweep.motion[first : first + 4])


def test_a_mirrored_sequence_moves_the_other_way():
    sweep, images, motion = drawn(changed(mirrored=1))
    assert (images[:, 0, 0, 0] > images[:, 0, 0, -1]).all()
    first = int(images[0, 0, 0, -1])
    flip = np.diag([-1, 1, 1, 1])
    ours, theirs = chain_of_steps(motion[0]), chain_of_steps(sweep.motion[first : first + 4])
    assert np.allclose(ours, flip @ theirs @ flip, atol=1e-6)


def test_a_sweep_without_a_scanners_memory_is_given_one_and_may_go_the_other_way():
    sweep, rng = replace(numbered(14), persists=False), np.random.default_rng
    back = varied(sweep, changed(reversed=1), rng(1))
    assert np.allclose(back.motion, reversed_motion(sweep.motion)[FADING:]) and back.motion[:, 2].mean() > 0
    assert (np.diff(back.windows[:, 0, 0].astype(int)) <= 0).all(), "darker and darker: from the last frame to the first"
    there = chain_of_steps(reversed_motion(sweep.motion) * CANONICAL_SIGN)
    assert np.allclose(there[-1], np.linalg.inv(chain_of_steps(sweep.motion)[-1]), atol=1e-6)
    recorded = varied(numbered(14), changed(reversed=1), rng(1))
    assert np.array_equal(recorded.windows, numbered(14).windows), "a recorded sweep has its scanner's memory, which has a direction"


def test_memory_lags_behind_and_leaves_what_stands_still():
    steps = np.repeat(np.array([0, 200], np.uint8), 10)[:, None, None] + np.zeros((20, 4, 4), np.uint8)
    kept = [remembered(steps, np.random.default_rng(seed))[:, 0, 0].astype(int) for seed in range(12)]
    assert all((one[:10] == 0).all() and one[-1] >= 195 for one in kept)
    shares = {round(1 - one[10] / 200, 1) for one in kept}
    assert len(shares) >= 4 and max(shares) <= 0.8, "scanners differ"


def test_steps_over_frames_left_out_add_up_and_so_do_their_intervals():
    sweep, how = numbered(60), changed(skipping=1, skips=0.5)
    gone = set()
    for seed in range(5):
        found = varied(sweep, how, np.random.default_rng(seed))
        numbers = found.windows[:, 0, 0].astype(int)
        assert np.array_equal(found.intervals, np.diff(numbers)) and len(found.motion) == len(numbers) - 1
        gone |= set(np.diff(numbers))
        whole = chain_of_steps(sweep.motion[numbers[0] : numbers[-1]])
        assert np.allclose(chain_of_steps(found.motion)[-1], whole[-1], atol=1e-4)
    assert gone == {1, 2, 3}
    assert len(varied(numbered(6), changed(skipping=1, skips=1.0), np.random.default_rng(0), shortest=6)) == 6, (
        "what remains is long enough"
    )


def test_brighter_and_darker_changes_grey_and_nothing_else():
    sweep, images, motion = drawn(changed(gain=20, contrast=0.2), takes=20)
    assert len(set(images[:, 0, 0, 3].tolist())) > 8
    assert {tuple(m[0]) for m in motion} <= {tuple(m) for m in sweep.motion}


@pytest.mark.parametrize("harm", ["lifted", "shadowed"])
def test_a_lifted_probe_and_a_shadow_take_light_and_leave_the_motion(harm):
    bright = replace(numbered(), windows=np.full((12, 60, 60), 160, np.uint8))
    found = [varied(bright, changed(**{harm: 1}), np.random.default_rng(seed)) for seed in range(24)]
    assert all((one.windows <= 160).all() for one in found) and sum((one.windows < 100).any() for one in found) >= 4
    assert all(np.array_equal(one.motion, bright.motion) for one in found)


def test_a_smaller_image_ends_in_black_at_both_sides_and_below():
    bright = replace(numbered(), windows=np.full((12, 60, 60), 160, np.uint8))
    found = [varied(bright, changed(cropped=1), np.random.default_rng(seed)).windows for seed in range(20)]
    columns, rows = np.array([one[0, 0] > 0 for one in found]), np.array([one[0, :, 30] > 0 for one in found])
    assert np.array_equal(columns, columns[:, ::-1]) and 30 <= columns.sum(1).min() < 40 and columns.sum(1).max() > 55
    assert rows[:, 0].all() and rows.sum(1).min() < 50 and (rows.sum(1) == 60).sum() > 4


def test_grain_is_new_in_every_frame_and_spares_black():
    grey = np.full((30, 40, 40), 120, np.uint8)
    grey[:, :, :10] = 0
    found = [grainy(grey, np.random.default_rng(seed)).astype(float) for seed in range(12)]
    assert all((one[:, :, :10] == 0).all() for one in found)
    sizes = [one[:, :, 10:].std() for one in found]
    assert min(sizes) < 6 and 8 < max(sizes) <= 14.5
    alike = [np.corrcoef(one[9, :, 10:].ravel(), one[10, :, 10:].ravel())[0, 1] for one in found if one[:, :, 10:].std() > 1]
    assert len(alike) > 8 and np.abs(alike).max() < 0.2


def test_clutter_stays_with_the_probe_and_slowly_becomes_another():
    grey = np.full((40, 40, 40), 120, np.uint8)
    alike = []
    for seed in range(12):
        shown = cluttered(grey, np.random.default_rng(seed)).astype(float)
        alike.append([np.corrcoef(shown[4].ravel(), shown[4 + lag].ravel())[0, 1] for lag in (1, 8, 35)])
    near, later, far = np.array(alike).T
    assert near.min() > 0.5 and (near > later).all() and later.max() > 0.6 and far.mean() < later.mean() - 0.1


def test_structure_is_tissue_it_moves_as_the_probe_does_and_no_shadow_shows_it():
    aside, along = np.zeros((2, 9, 6))
    aside[:, 0], along[:, 2] = SPACING[0], 0.5  # a pixel to the side in each frame; across the plane
    grey = np.full((10, 48, 48), 120, np.uint8)
    grey[:, 30:] = 25
    for seed in range(6):
        moved, passed = (structured(grey, motion, SPACING, np.random.default_rng(seed)).astype(float) for motion in (aside, along))
        assert (moved[:, 36:] == 25).all(), "in the shadow"
        echo = moved[:, :22]
        assert echo.std() > 1
        assert np.abs(echo[0, :, 9:40] - echo[5, :, 4:35]).max() <= 1, "a probe that moves by 5 pixels sees it 5 pixels to the left"
        near, far = (np.corrcoef(passed[0, :22].ravel(), passed[i, :22].ravel())[0, 1] for i in (1, 9))
        assert near > 0.9 and near > far


def test_a_grabber_of_another_rate_shows_uneven_images_of_even_motion():
    even = replace(numbered(40), motion=np.tile(np.array([0.1, 0, 0.5, 0, 0.01, 0], np.float32), (39, 1)))
    for seed in range(8):
        seen = grabbed(even, np.random.default_rng(seed), 20)
        went = np.diff(seen.windows[:, 0, 0].astype(int))
        assert set(went) == {1, 2} and 20 <= len(seen) < 40
        rate = seen.motion[0, 2] / 0.5
        assert 1.1 <= rate <= 1.7 and went.mean() == pytest.approx(rate, abs=0.1)
        assert np.abs(seen.motion - seen.motion[0]).max() < 5e-3, "the poses go on evenly"
        assert np.abs(seen.intervals - 1).max() < 1e-6
    lost = replace(even, intervals=np.where(np.arange(39) == 20, 3, 1).astype(np.float32))
    assert grabbed(lost, np.random.default_rng(0), 20).intervals.max() > 1.5
    assert grabbed(even, np.random.default_rng(0), 39) is even, "nothing is done where too little would remain"


def test_grain_goes_through_the_scanners_memory():
    flat = replace(numbered(60), windows=np.full((60, 40, 40), 120, np.uint8), persists=False)
    alike = []
    for seed in range(12):
        shown = varied(flat, changed(grainy=1), np.random.default_rng(seed)).windows.astype(float)
        alike.append(np.corrcoef(shown[20].ravel(), shown[21].ravel())[0, 1])
    assert max(alike) > 0.4, "a memory that keeps half of a frame keeps its noise"


def test_a_shelf_gives_back_what_it_was_given_and_nothing_overlaps():
    shelf = Shelf()
    given = [torch.randn(n, 7, generator=torch.Generator().manual_seed(n)) for n in (1, 50, 3)]
    given += [torch.arange(70 << 20, dtype=torch.uint8), torch.ones(2, dtype=torch.int8)]
    kept = [shelf.room(one, len(one)).copy_(one) for one in given]
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(kept, given, strict=True))


def test_a_sweep_is_seen_once_per_take_and_the_same_whenever_it_is_asked_for():
    network, sweeps = Looks(), Sweeps([numbered(), numbered(first=100)])
    batches = SweepBatches(sweeps, network, Variation(), takes=3, seed=1)
    first = batches(np.random.default_rng(5), 40, 4)
    assert network.seen == 6
    again = SweepBatches(sweeps, Looks(), Variation(), takes=3, seed=1)
    again(np.random.default_rng(9), 3, 4)
    assert all(torch.equal(a, b) for a, b in zip(again(np.random.default_rng(5), 40, 4), first, strict=True))


def test_variations_are_renewed_in_the_place_of_the_old_ones_and_the_same_ones_every_time():
    network, sweeps = Looks(), Sweeps([numbered(30), numbered(30, first=100)])

    def drawn(renewed: float) -> list[torch.Tensor]:
        batches = SweepBatches(sweeps, network, Variation(), takes=1, renewed=renewed, seed=1)
        return [batches(np.random.default_rng(5), 4, 4).seen for _ in range(3)]

    first, second, _ = once = drawn(1.0)
    assert network.seen == 12 and not torch.equal(first, second), "each draw sees a new variation"
    assert all(torch.equal(a, b) for a, b in zip(once, drawn(1.0), strict=True)), "and takes nothing away from the one before"
    assert torch.equal(*drawn(0.0)[:2])


def test_sweeps_too_short_for_a_sequence_are_left_out_and_nothing_left_is_said():
    short, long = numbered(4), numbered(9, first=100)
    images = SweepBatches(Sweeps([short, long]), Looks(), PLAIN)(np.random.default_rng(0), 10, 6).seen
    assert (images[:, 0, 0, 0] >= 100).all()
    with pytest.raises(NoTrainingSweeps, match="6 frames"):
        SweepBatches(Sweeps([short]), Looks(), PLAIN)(np.random.default_rng(0), 1, 6)
    with pytest.raises(NoTrainingSweeps):
        Sweeps([])


def test_a_mixed_batch_has_the_share_asked_for():
    one, other = (SweepBatches(Sweeps([numbered(first=first)]), Looks(), PLAIN) for first in (0, 100))
    found = Mixed(one, other, 0.25)(np.random.default_rng(0), 400, 4)
    assert len(found.seen) == len(found.motion) == len(found.intervals) == 400
    assert 0.15 < float((found.seen[:, 0, 0, 0] >= 100).float().mean()) < 0.35
    alone = Mixed(one, other, 0.0)(np.random.default_rng(0), 4, 4)
    assert (alone.seen[:, 0, 0, 0] < 100).all()


class Pixel(nn.Module):
    """Says the elevational step that a frame's grey is, ten grey values to the millimetre; for tests."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("output_scale", torch.tensor([0.5, 0.25, 1.0, 0.003, 0.003, 0.002]))
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.head = nn.Linear(1, 12)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def see(self, windows):
        return windows

    def forward(self, seen, intervals):
        b, t = seen.shape[:2]
        grey = self.norm(seen.float().flatten(0, 1)[:, None]).reshape(b, t, -1).mean(2, keepdim=True)
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
    trust = trust_errors(module, [sweep])
    widen(module, trust.factors)
    memory = trust.memory
    after = measure(module, sweep, np.zeros(6)).within
    assert memory.lasting[2] > 0.5 > 0.2 > memory.lasting[0]  # it misses every elevational step by about as much; the others as they come
    assert before["68%"] != pytest.approx(0.68, abs=0.02)
    assert 0.6 < after["68%"] < 0.76 and 0.9 < after["95%"] < 0.98


def test_intervals_that_are_not_to_be_scaled_stay_and_the_errors_are_remembered_all_the_same():
    sweep, module = numbered(200), Pixel()
    before = measure(module, sweep, np.zeros(6)).within
    trust = trust_errors(module, [sweep], scale=False)
    widen(module, trust.factors)
    assert trust.memory.lasting[2] > 0.5
    assert measure(module, sweep, np.zeros(6)).within == before


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
