"""What holds for every volume, whatever the frames: bytes depend on no thread, instruction set, order or place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from volume_cases import everything, pose, sweep

from edge.compounding import CHANNEL_COUNT, COMPOUNDINGS, VolumeSettings, host

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)


def built(frames, compounding="mean", bridge=False, threads=1, variant="", valid=None, fill=False, spacing_mm=0.5):
    with host.Compounder(VolumeSettings(spacing_mm=spacing_mm, compounding=compounding, max_gap_mm=3), threads, variant) as volume:
        touched = [volume.place(pixels, matrix, valid=valid, bridge=bridge).tolist() for pixels, matrix in frames]
        if fill:
            volume.fill_holes()
        return everything(volume), touched


@few
@given(seed=seeds, compounding=st.sampled_from(COMPOUNDINGS), threads=st.integers(2, 7), towards=st.integers(0, 2))
def test_one_thread_and_many_make_the_same_bytes(seed, compounding, threads, towards):
    frames = sweep(seed, step_mm=1.6, towards=towards)
    assert built(frames, compounding, True, 1, fill=True) == built(frames, compounding, True, threads, fill=True)


@pytest.mark.parametrize("variant", host.variants()[1:] or [pytest.param("", marks=pytest.mark.skip(reason="only one is built"))])
@pytest.mark.parametrize("compounding", COMPOUNDINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_every_instruction_set_makes_the_same_bytes(variant, compounding, masked):
    frames, valid = sweep(6, step_mm=1.6), np.ones((34, 45), np.uint8)
    valid[10:14, 10:30] = 0
    arguments = {"bridge": True, "valid": valid if masked else None, "fill": True, "spacing_mm": 0.3}
    assert built(frames, compounding, **arguments) == built(frames, compounding, variant=variant, **arguments)


@few
@given(seed=seeds, order=st.permutations(range(6)), compounding=st.sampled_from(["mean", "maximum"]))
def test_order_of_frames_does_not_matter(seed, order, compounding):
    frames = sweep(seed)
    assert built(frames, compounding)[0] == built([frames[n] for n in order], compounding)[0]


def test_the_latest_frame_wins():
    (first, matrix), (second, _) = sweep(7, count=2)
    assert built([(first, matrix), (second, matrix)], "latest")[0] == built([(second, matrix)], "latest")[0]


@few
@given(seed=seeds, bricks=st.tuples(*[st.integers(-3000, 3000)] * 3), spacing_mm=st.sampled_from([0.25, 0.5, 0.3]))
def test_a_sweep_moved_by_whole_bricks_makes_the_same_bytes_elsewhere(seed, bricks, spacing_mm):
    frames = sweep(seed, step_mm=1.6)
    moved = [(pixels, matrix.copy()) for pixels, matrix in frames]
    for _, matrix in moved:
        matrix[:3, 3] += np.array(bricks) * 8 * spacing_mm
    here, there = built(frames, bridge=True, spacing_mm=spacing_mm)[0], built(moved, bridge=True, spacing_mm=spacing_mm)[0]
    assert {tuple(np.add(at, bricks).tolist()): voxels for at, voxels in here.items()} == there


@few
@given(value=st.integers(0, 255), seed=seeds)
def test_a_uniform_image_stays_uniform(value, seed):
    with host.Compounder(VolumeSettings(max_gap_mm=3)) as volume:
        for pixels, matrix in sweep(seed, step_mm=1.6):
            volume.place(np.full_like(pixels, value), matrix, bridge=True)
        volume.fill_holes()
        bricks = volume.bricks(volume.slots())
    assert set(np.unique(bricks.intensity[bricks.state > 0])) == {value}
    assert not bricks.intensity[bricks.state == 0].any()


def test_place_answers_with_the_bricks_that_changed(opened):
    with opened(VolumeSettings()) as volume:
        before = {}
        for pixels, matrix in sweep(8, step_mm=1.6):
            slots = volume.place(pixels, matrix, bridge=True)
            after = everything(volume)
            changed = {at for at in after if after[at] != before.get(at)}
            assert changed <= {tuple(at) for at in volume.bricks(slots).coordinates.tolist()}
            assert len(set(slots.tolist())) == len(slots)
            before = after
        assert np.array_equal(volume.slots(), np.arange(volume.brick_count()))


@pytest.mark.parametrize("light", [1, CHANNEL_COUNT - 1])
def test_channels_do_not_disturb_each_other(opened, light):
    one, two = sweep(9, step_mm=1.6), sweep(10, step_mm=1.6, towards=1)
    with opened(VolumeSettings(max_gap_mm=3)) as volume:
        for (pixels, matrix), (other, elsewhere) in zip(one, two, strict=True):
            volume.place(pixels, matrix, bridge=True)
            volume.place(other, elsewhere, channel=light, bridge=True)
        assert everything(volume, 0) == built(one, bridge=True)[0]
        assert everything(volume, light) == built(two, bridge=True)[0]
        filled = volume.fill_holes(channel=light)
        assert volume.voxel_counts(0).filled == 0 < filled == volume.voxel_counts(light).filled


def test_a_probe_that_rests_for_half_an_hour_does_not_overflow(opened):
    bright, dark = np.full((9, 9), 255, np.uint8), np.full((9, 9), 31, np.uint8)
    with opened(VolumeSettings(), 1) as volume:
        for _ in range(30 * 60 * 30 // 10):  # a tenth of it: the cycle of halvings repeats every 128 frames
            volume.place(bright, pose())
        bricks = volume.bricks(volume.slots())
        assert set(np.unique(bricks.intensity[bricks.state == 1])) == {255}
        for _ in range(1000):
            volume.place(dark, pose())
        bricks = volume.bricks(volume.slots())
        assert np.abs(bricks.intensity[bricks.state == 1].astype(int) - 32).max() <= 1, "old frames fade out of a resting mean"


def test_the_mean_is_exact_up_to_255_full_hits(opened):
    values = np.random.default_rng(11).integers(0, 256, 255)
    with opened(VolumeSettings(), 1) as volume:
        for value in values:
            volume.place(np.full((9, 9), value, np.uint8), pose())
        bricks = volume.bricks(volume.slots())
    assert set(np.unique(bricks.intensity[bricks.state == 1])) == {int(values.mean() + 0.5)}


def test_reset_forgets_everything(opened):
    frames = sweep(12, step_mm=1.6)
    with opened(VolumeSettings(max_gap_mm=3)) as volume:
        volume.place(*frames[-1])
        volume.reset()
        assert volume.brick_count() == 0 == len(volume.slots())
        for pixels, matrix in frames:
            volume.place(pixels, matrix, bridge=True)
        assert everything(volume) == built(frames, bridge=True)[0]
