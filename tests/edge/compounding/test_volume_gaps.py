"""Voxels between frames: interpolated only where asked for, never further than allowed, and always giving way to tissue."""

from __future__ import annotations

import numpy as np
import pytest
from volume_cases import everything, on_grid, pose

from edge.compounding import EMPTY, FILLED, INTERPOLATED, MEASURED, VolumeSettings

SHAPE = (24, 16, 24)


def flat(value: int) -> np.ndarray:
    return np.full((16, 24), value, np.uint8)


def at(z_mm: float) -> np.ndarray:
    return pose(origin_mm=(0, 0, z_mm))


@pytest.fixture
def volume(opened):
    with opened(VolumeSettings(spacing_mm=0.5, max_gap_mm=2.5)) as one:
        yield one


def states(volume, column=(5, 5)):
    return on_grid(volume, (0, 0, 0), SHAPE)[1][column].tolist()


def test_a_gap_is_interpolated_by_distance(volume):
    volume.place(flat(100), at(1.0), bridge=True)
    volume.place(flat(200), at(3.5), bridge=True)
    intensity, state = on_grid(volume, (0, 0, 0), SHAPE)
    assert state[5, 5, 1:9].tolist() == [EMPTY, MEASURED, *[INTERPOLATED] * 4, MEASURED, EMPTY]
    assert intensity[5, 5, 2:8].tolist() == [100, 120, 140, 160, 180, 200]
    assert (state == INTERPOLATED).sum() == 4 * 24 * 16


def test_nothing_is_interpolated_unless_asked_for(volume):
    volume.place(flat(100), at(1.0), bridge=True)
    volume.place(flat(200), at(3.0), bridge=False)
    assert volume.voxel_counts().interpolated == 0


def test_a_gap_wider_than_allowed_stays_empty(volume):
    volume.place(flat(100), at(1.0), bridge=True)
    volume.place(flat(200), at(3.51), bridge=True)
    assert volume.voxel_counts().interpolated == 0


def test_light_is_joined_across_its_own_gap(opened):
    with opened(VolumeSettings(spacing_mm=0.5, max_gap_mm=2.5, light_max_gap_mm=3.0)) as volume:
        for channel in (0, 1, 4):
            volume.place(flat(100), at(1.0), channel, bridge=True)
            volume.place(flat(200), at(4.0), channel, bridge=True)
        joined = [(on_grid(volume, (0, 0, 0), SHAPE, channel)[1] == INTERPOLATED).any() for channel in (0, 1, 4)]
        assert joined == [False, True, True]


def test_a_gap_is_judged_at_each_voxel(volume):
    volume.place(flat(100), at(1.0), bridge=True)
    volume.place(flat(200), pose((0.0, -0.1, 0.0), (0.0, 0.0, 3.0)), bridge=True)  # rises by 1.2 mm across the image
    state = on_grid(volume, (0, 0, 0), SHAPE)[1]
    assert state[1, 5].tolist().count(INTERPOLATED) >= 2
    assert state[22, 5].tolist().count(INTERPOLATED) == 0


def test_slabs_that_meet_leave_nothing_to_interpolate(volume):
    for n in range(8):
        volume.place(flat(100), at(0.8 * n), bridge=True)
    assert volume.voxel_counts().interpolated == 0


def test_a_first_frame_and_a_frame_after_an_error_bridge_to_nothing(volume):
    volume.place(flat(1), at(1.0), bridge=True)
    with pytest.raises(Exception, match="singular"):
        volume.place(flat(1), np.diag([0.0, 1, 1, 1]), bridge=True)
    volume.place(flat(1), at(3.0), bridge=True)
    assert volume.voxel_counts().interpolated == 0


def test_measurement_replaces_interpolation_outright(volume):
    volume.place(flat(100), at(1.0))
    volume.place(flat(200), at(3.0), bridge=True)
    volume.place(flat(7), at(2.0))
    intensity, state = on_grid(volume, (0, 0, 0), SHAPE)
    assert state[5, 5, 2:7].tolist() == [MEASURED, INTERPOLATED, MEASURED, INTERPOLATED, MEASURED]
    assert intensity[5, 5, 4] == 7


def test_interpolation_never_changes_a_measured_voxel(volume):
    volume.place(flat(7), at(2.0))
    volume.place(flat(100), at(1.0))
    before = volume.bricks(volume.slots())
    volume.place(flat(200), at(3.0), bridge=True)
    intensity, state = on_grid(volume, (0, 0, 0), SHAPE)
    assert intensity[5, 5, 4] == 7
    assert state[5, 5, 4] == MEASURED
    measured = before.state == MEASURED
    assert np.array_equal(volume.bricks(volume.slots()).intensity[: len(before.state)][measured], before.intensity[measured])


def test_a_folded_back_probe_is_not_bridged(volume):
    volume.place(flat(100), at(1.0))
    volume.place(flat(200), pose((np.pi, 0.0, 0.0), (0.0, 7.5, 2.0)), bridge=True)
    assert volume.voxel_counts().interpolated == 0


def test_what_the_mask_hides_is_neither_measured_nor_interpolated(volume):
    valid = np.zeros((16, 24), np.uint8)
    valid[:, :12] = 9
    volume.place(flat(100), at(1.0), valid=valid)
    volume.place(flat(200), at(3.0), bridge=True)
    state = on_grid(volume, (0, 0, 0), SHAPE)[1]
    assert state[10, 5, 2:7].tolist() == [MEASURED, *[INTERPOLATED] * 3, MEASURED]
    assert state[11, 5, 2:7].tolist() == [EMPTY] * 4 + [MEASURED], "its right neighbours are masked"
    whole = np.ones((16, 24), np.uint8)
    volume.reset()
    volume.place(flat(100), at(1.0), valid=whole)
    masked = everything(volume)
    volume.reset()
    volume.place(flat(100), at(1.0))
    assert everything(volume) == masked


def test_filled_holes_are_flagged_and_give_way(volume):
    for z_mm in (1.0, 2.0, 3.0):
        volume.place(flat(100), at(z_mm))
    assert volume.fill_holes(radius_voxels=1, min_known_ratio=0.5) > 0
    assert states(volume)[1:8] == [EMPTY, MEASURED, FILLED, MEASURED, FILLED, MEASURED, EMPTY], "the outer border does not grow"
    volume.place(flat(50), at(2.5))
    intensity, state = on_grid(volume, (0, 0, 0), SHAPE)
    assert state[5, 5, 5] == MEASURED
    assert intensity[5, 5, 5] == 50
    again = volume.fill_holes(radius_voxels=1, min_known_ratio=0.5)
    assert again == volume.voxel_counts().filled == (on_grid(volume, (0, 0, 0), SHAPE)[1] == FILLED).sum()


def test_filling_twice_changes_nothing(volume):
    for z_mm in (1.0, 2.5, 4.0):
        volume.place(flat(100), at(z_mm))
    first = volume.fill_holes()
    once = everything(volume)
    assert volume.fill_holes() == first
    assert everything(volume) == once
