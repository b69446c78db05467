"""What a volume refuses, by which name, and that a refusal changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from volume_cases import everything, pose, sweep

import edge.compounding as compounding
from edge.compounding import VolumeSettings, host, native, open_compounder

PIXELS = np.full((16, 24), 90, np.uint8)


@pytest.fixture
def volume(opened):
    with opened(VolumeSettings(memory_limit_mib=1), 1) as one:
        yield one


@pytest.mark.parametrize(
    "wrong",
    [
        {"spacing_mm": 0.0},
        {"spacing_mm": float("nan")},
        {"spacing_mm": 1e6},
        {"compounding": "median"},
        {"slab_half_width_mm": 0.1},
        {"slab_half_width_mm": -1.0},
        {"slab_half_width_mm": 1e9},
        {"max_gap_mm": -0.1},
        {"max_gap_mm": float("inf")},
        {"max_gap_mm": 1e4},
        {"memory_limit_mib": 0},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(compounding.BadVolumeSettings, match=next(iter(wrong))):
        VolumeSettings(**wrong)


@pytest.mark.parametrize(
    "pixels",
    [
        PIXELS.astype(float),
        PIXELS[0],
        PIXELS[:1],
        PIXELS[:, :1],
        np.zeros((2, 8193), np.uint8),
        [[1, 2], [3, 4]],
        np.zeros((0, 5), np.uint8),
    ],
)
def test_pixels_of_another_kind_are_refused(volume, pixels):
    with pytest.raises(compounding.BadFrame, match="pixels"):
        volume.place(pixels, pose())


def test_a_mask_of_another_shape_or_a_channel_beyond_the_last_is_refused(volume):
    with pytest.raises(compounding.BadFrame, match="valid"):
        volume.place(PIXELS, pose(), valid=PIXELS[1:])
    with pytest.raises(compounding.BadFrame, match="valid"):
        volume.place(PIXELS, pose(), valid=PIXELS > 0)
    for channel in (compounding.CHANNEL_COUNT, -1):
        with pytest.raises(compounding.BadFrame, match="channel"):
            volume.place(PIXELS, pose(), channel=channel)


def scaled(*diagonal):
    return np.diag([*diagonal, 1.0])


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.full((4, 4), np.nan), "finite"),
        (pose(origin_mm=(np.inf, 0, 0)), "finite"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.eye(3), "4x4"),
        (np.eye(4, dtype=int), "float64"),
        (scaled(0, 1, 1.0), "singular"),
        (scaled(1e-300, 1e-300, 1), "singular"),
        (np.array([[1.0, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "singular"),
        (pose(origin_mm=(1e12, 0, 0)), "far"),
        (pose(origin_mm=(0, -1e300, 0)), "far"),
        (scaled(1e200, 1e200, 1), "far|singular"),
        (scaled(1e-4, 1, 1), "512 pixels"),
        (scaled(900.0, 700.0, 1), "limit|span"),
    ],
)
def test_a_pose_that_cannot_be_placed_is_refused_and_changes_nothing(volume, matrix, why):
    volume.place(PIXELS, pose())
    before = everything(volume)
    with pytest.raises((compounding.BadPose, compounding.VolumeFull), match=why):
        volume.place(PIXELS, matrix, bridge=True)
    assert everything(volume) == before


def test_the_third_column_of_a_pose_is_not_used(volume):
    volume.place(PIXELS, pose())
    before = everything(volume)
    matrix = pose()
    matrix[:3, 2] = 7, -9, 0
    volume.reset()
    volume.place(PIXELS, matrix)
    assert everything(volume) == before


def test_a_full_volume_refuses_the_frame_whole_and_stays_usable(volume):
    placed = []
    with pytest.raises(compounding.VolumeFull, match="memory_limit_mib"):
        for n in range(1000):
            volume.place(PIXELS, pose(origin_mm=(0, 0, 8.0 * n)), channel=n % compounding.CHANNEL_COUNT)
            placed.append(n)
    assert 0 < sum(volume.brick_count(channel) for channel in range(compounding.CHANNEL_COUNT)) <= 512, "one limit for all channels"
    assert len(placed) > 50
    before = everything(volume)
    volume.place(PIXELS, pose())
    assert everything(volume).keys() == before.keys()
    volume.reset()
    volume.place(PIXELS, pose(origin_mm=(0, 0, 1e5)))


def test_memory_follows_touched_bricks(volume):
    for _ in range(50):
        volume.place(PIXELS, pose())
    once = volume.brick_count()
    assert once <= 2 * 2 * 2
    assert sum(volume.voxel_counts()) == 512 * once


@pytest.mark.parametrize("slots", [[-1], [10**6], [0, 10**6], [[0]]])
def test_a_brick_that_does_not_exist_is_refused(volume, slots):
    volume.place(PIXELS, pose())
    with pytest.raises(compounding.BadSlots):
        volume.bricks(np.array(slots, np.int32))


def test_a_frame_that_touches_no_voxel_is_no_error(volume):
    slots = volume.place(PIXELS[:2, :2], pose(origin_mm=(0.2, 0.2, 0), pixel_mm=(0.1, 0.1)))
    assert slots.dtype == np.int32
    assert len(slots) == 0
    assert len(volume.bricks(slots).state) == 0


def test_an_empty_volume_has_no_dense_array_and_a_large_one_says_the_cure(opened):
    with opened(VolumeSettings(memory_limit_mib=2), 1) as volume:
        with pytest.raises(compounding.VolumeEmpty):
            volume.dense()
        assert volume.fill_holes() == 0
        volume.place(PIXELS, pose())
        volume.place(PIXELS, pose(origin_mm=(80, 80, 80)))
        with pytest.raises(compounding.VolumeTooLarge, match="spacing_mm"):
            volume.dense()


def test_dense_is_the_smallest_box(opened):
    with opened(VolumeSettings(spacing_mm=0.5), 1) as volume:
        volume.place(PIXELS, pose(origin_mm=(-2.5, 3.0, 40.0)))
        dense = volume.dense()
    assert dense.intensity.shape == dense.state.shape == (1, 16, 24)
    assert dense.origin_mm.tolist() == [-2.5, 3.0, 40.0]
    assert (dense.intensity == 90).all()


@pytest.mark.parametrize(("radius", "ratio"), [(0, 0.5), (4, 0.5), (1.5, 0.5), (2, 0.0), (2, 1.1), (2, float("nan"))])
def test_hole_filling_out_of_range_is_refused(volume, radius, ratio):
    with pytest.raises(compounding.BadVolumeSettings):
        volume.fill_holes(radius_voxels=radius, min_known_ratio=ratio)


def test_a_closed_volume_says_so(opened):
    volume = opened(VolumeSettings())
    volume.close()
    volume.close()
    for use in (lambda: volume.place(PIXELS, pose()), volume.brick_count, volume.reset, volume.dense):
        with pytest.raises(compounding.VolumeClosed):
            use()


def test_auto_says_what_it_took_and_a_named_backend_never_falls_back(monkeypatch):
    with open_compounder("host", VolumeSettings()) as volume:
        assert volume.backend == "host"
    with open_compounder("auto", VolumeSettings()) as volume:
        assert volume.backend in compounding.BACKENDS
    with pytest.raises(compounding.BackendUnavailable, match="auto, cuda or host"):
        open_compounder("opencl", VolumeSettings())
    monkeypatch.setattr(host, "missing", lambda: "the library is not built; pip install .")
    with pytest.raises(compounding.BackendUnavailable, match=r"^host: the library is not built; pip install \.$"):
        open_compounder("host", VolumeSettings())


def test_a_missing_or_foreign_library_names_the_cure(tmp_path):
    assert "g++" in native.missing(Path("/nowhere/libsonosweep_kernels.so"))
    foreign = tmp_path / "libsonosweep_kernels.so"
    foreign.write_bytes(b"not a library")
    assert "build it again" in native.missing(foreign)
    assert native.missing() == ""


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(compounding.BackendUnavailable, match=host.variants()[0]):
        host.Compounder(VolumeSettings(), variant="mmx")


def test_a_view_of_a_larger_image_is_placed_like_its_copy(volume):
    pixels, matrix = sweep(13, count=1, shape=(40, 60))[0]
    volume.place(pixels[3:30:2, 5:50], matrix)
    view = everything(volume)
    volume.reset()
    volume.place(np.ascontiguousarray(pixels[3:30:2, 5:50]), matrix)
    assert everything(volume) == view
