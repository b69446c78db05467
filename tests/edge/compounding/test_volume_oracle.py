"""The volume against the slow definition in tests/oracle.py, in every mode and from every side."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from volume_cases import on_grid, pose, sweep

from edge.compounding import COMPOUNDINGS, VolumeSettings, host

FIRST, SHAPE = (-24, -24, -24), (72, 72, 72)

# Grey levels. Sampling: positions are cut to 1/256 pixel (noise has 255 per pixel: 1/512 * 255 * 2), the sample is rounded.
SAMPLED = 0.5 + 1.0
MEAN = SAMPLED + 0.5  # the mean is rounded once more
BETWEEN = SAMPLED + 0.5 + 255 / 512  # two samples mixed in 256 steps, rounded


def compare(volume, truth, bound):
    intensity, state = on_grid(volume, truth.first, truth.shape)
    sure = ~truth.doubtful
    assert truth.doubtful.mean() < 0.1, "the test would prove nothing"
    assert np.array_equal(state[sure], truth.state[sure])
    both = sure & (state > 0)
    error = np.abs(intensity - truth.intensity())[both]
    assert error.max() <= bound
    signed = (intensity - truth.intensity())[both]
    assert abs(signed.mean()) < 0.05 + 4 * signed.std() / np.sqrt(signed.size), "samples and means are rounded, not cut off"


@pytest.mark.parametrize("towards", [0, 1, 2])
@pytest.mark.parametrize("compounding", COMPOUNDINGS)
@pytest.mark.parametrize("half_width_mm", [None, 0.8])
def test_a_voxel_holds_what_the_definition_says(opened, compounding, towards, half_width_mm):
    chosen = VolumeSettings(spacing_mm=0.5, compounding=compounding, slab_half_width_mm=half_width_mm)
    truth = oracle.Oracle(FIRST, SHAPE, 0.5, compounding, chosen.half_width_mm, 2.0)
    with opened(chosen) as volume:
        for pixels, matrix in sweep(1, towards=towards):
            volume.place(pixels, matrix)
            truth.place(pixels, matrix)
        compare(volume, truth, MEAN)


@pytest.mark.parametrize("compounding", COMPOUNDINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_gap_is_interpolated_as_defined(opened, compounding, masked):
    chosen = VolumeSettings(spacing_mm=0.5, compounding=compounding, max_gap_mm=3.0)
    truth = oracle.Oracle(FIRST, SHAPE, 0.5, compounding, 0.5, 3.0)
    valid = np.ones((34, 45), np.uint8)
    valid[5:12, 20:30] = 0
    with opened(chosen) as volume:
        for n, (pixels, matrix) in enumerate(sweep(2, step_mm=1.7)):
            mask = valid if masked and n != 2 else None
            volume.place(pixels, matrix, valid=mask, bridge=True)
            truth.place(pixels, matrix, valid=mask, bridge=True)
        compare(volume, truth, BETWEEN)
        assert volume.voxel_counts().interpolated > 500


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), towards=st.integers(0, 2), spacing_mm=st.floats(0.2, 0.9), tilt=st.floats(-1.5, 1.5))
def test_any_sweep_agrees_with_the_definition(seed, towards, spacing_mm, tilt):
    truth = oracle.Oracle((-40, -40, -40), (96, 96, 96), spacing_mm, "mean", spacing_mm, 2.0)
    with host.Compounder(VolumeSettings(spacing_mm=spacing_mm)) as volume:
        for pixels, matrix in sweep(seed, count=2, shape=(20, 24)):
            matrix = pose((0.3, tilt, -0.2), towards=towards, pixel_mm=(1, 1)) @ matrix
            volume.place(pixels, matrix)
            truth.place(pixels, matrix)
        compare(volume, truth, MEAN)


def test_an_image_that_lies_on_the_grid_is_copied_exactly(opened):
    pixels = np.random.default_rng(3).integers(0, 256, (16, 24), dtype=np.uint8)
    with opened(VolumeSettings(spacing_mm=0.5)) as volume:
        volume.place(pixels, pose())
        intensity, state = on_grid(volume, (0, 0, 0), (24, 16, 8))
    assert np.array_equal(intensity[:, :, 0], pixels.T)
    assert np.array_equal(state[:, :, 0], np.ones((24, 16)))
    assert not state[:, :, 1:].any(), "the slab ends one voxel away, where its weight is nothing"


def test_holes_are_filled_as_defined_across_bricks_and_flagged(opened):
    with opened(VolumeSettings(spacing_mm=0.5)) as volume:
        for pixels, matrix in sweep(4, step_mm=1.45, shape=(60, 60)):
            volume.place(pixels, matrix)
        before = on_grid(volume, FIRST, SHAPE)
        for radius, ratio in ((1, 0.3), (3, 0.5), (2, 0.5)):
            flagged = volume.fill_holes(radius_voxels=radius, min_known_ratio=ratio)
            intensity, state = on_grid(volume, FIRST, SHAPE)
            want, kind = oracle.filled(*before, radius, ratio)
            touched = np.zeros(SHAPE, bool)
            for at in volume.bricks(volume.slots()).coordinates * 8 - np.array(FIRST):
                touched[tuple(slice(x, x + 8) for x in at)] = True
            want[~touched], kind[~touched] = 0, 0
            assert np.array_equal(state, kind)
            assert flagged == (kind == 3).sum() > 100
            assert np.abs(intensity - want).max() <= 0.51
            assert np.array_equal(intensity[state == 1], before[0][state == 1])


def test_the_oracle_can_fail(opened):
    chosen = VolumeSettings(spacing_mm=0.5)
    truth = oracle.Oracle(FIRST, SHAPE, 0.5, "mean", 0.5, 2.0)
    with opened(chosen) as volume:
        for pixels, matrix in sweep(5):
            volume.place(pixels, matrix)
            matrix[2, 3] += 0.05  # a tenth of a voxel
            truth.place(pixels, matrix)
        with pytest.raises(AssertionError):
            compare(volume, truth, MEAN)
