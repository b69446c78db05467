"""The heart: continuity, faults, two channels, direction, and the same volume on every way."""

import msgspec
import numpy as np
import pytest
from heart_frames import GEOMETRY, TEXTURE, a_frame, feed, names, poses

from edge.compounding import VolumeFull, VolumeSettings, open_compounder
from edge.compounding.scan_conversion import ScanTable, Sector
from edge.config import MotionConfig
from edge.faults import FAULTS, Effect
from edge.messages import Bricks, Geometry, Pose, SweepEnded
from edge.motion import open_motion
from edge.reconstructor import MAX_BRIDGED_FRAMES, MAX_WAITING_FRAMES, Reconstructor
from edge.transform import Transform


@pytest.fixture
def make():
    opened = []

    def reconstructor(source="recorded", direction="", fill_holes=False, memory_limit_mib=256, **motion):
        compounder = open_compounder("host", VolumeSettings(spacing_mm=0.5, memory_limit_mib=memory_limit_mib), 1)
        opened.append(compounder)
        source = open_motion(MotionConfig(source=source, direction=direction, **motion))
        return Reconstructor(source, compounder, direction=direction, fill_holes=fill_holes)

    yield reconstructor
    for compounder in opened:
        compounder.close()


def test_each_placed_frame_says_its_pose_and_the_bricks_it_changed(make):
    reconstructor = make()
    said = feed(reconstructor, a_frame(0), a_frame(1))
    assert [type(message) for message in said] == [Pose, Bricks, Pose, Bricks]
    bricks = said[3]
    assert len(bricks.coords) == len(bricks.intensity) == len(bricks.state) > 0
    held = {tuple(c): i for c, i in zip(said[1].coords.tolist(), said[1].intensity, strict=True)}
    held |= {tuple(c): i for c, i in zip(bricks.coords.tolist(), bricks.intensity, strict=True)}
    volume = reconstructor.volumes()["ultrasound"]
    origin = np.rint(np.array(volume.origin_mm) / 0.5).astype(int)
    for k, j, i in np.argwhere(volume.state > 0)[::97]:
        voxel = origin + np.array([i, j, k])
        assert held[tuple((voxel // 8).tolist())][tuple((voxel % 8)[::-1])] == volume.intensity[k, j, i]


def test_a_client_that_applies_every_update_holds_the_saved_volume(make):
    reconstructor = make()
    held = {}
    for message in feed(reconstructor, *(a_frame(n) for n in range(12))):
        if isinstance(message, Bricks):
            held |= {tuple(c): (i, s) for c, i, s in zip(message.coords.tolist(), message.intensity, message.state, strict=True)}
    dense = reconstructor.compounder.bricks(reconstructor.compounder.slots())
    changed = [number for number, state in enumerate(dense.state) if state.any()]
    for number in changed:
        intensity, state = held[tuple(dense.coordinates[number].tolist())]
        assert np.array_equal(intensity, dense.intensity[number]) and np.array_equal(state, dense.state[number])


def test_the_last_frame_ends_the_sweep_and_later_ones_are_ignored(make):
    reconstructor = make()
    said = feed(reconstructor, a_frame(0), a_frame(1, last=True), a_frame(2))
    ended = [message for message in said if isinstance(message, SweepEnded)]
    assert [(e.reason, e.frames, e.placed, e.lost) for e in ended] == [("last", 2, 2, 0)]
    assert isinstance(said[-1], SweepEnded) and reconstructor.counts.ignored == 1


def test_lost_frames_are_counted_and_named_but_do_not_break_tracked_poses(make):
    reconstructor = make()
    said = feed(reconstructor, a_frame(0), a_frame(3), a_frame(50))
    assert names(said) == ["FRAMES_BRIDGED", "FRAMES_BRIDGED"]
    assert (reconstructor.counts.placed, reconstructor.counts.lost) == (3, 2 + 46)


def test_too_many_lost_frames_end_a_sweep_of_relative_poses(make):
    reconstructor = make("constant", direction="+")
    said = feed(reconstructor, a_frame(0), a_frame(MAX_BRIDGED_FRAMES + 2), a_frame(MAX_BRIDGED_FRAMES + 3))
    assert names(said) == ["FRAMES_LOST"]
    assert [m.reason for m in said if isinstance(m, SweepEnded)] == ["FRAMES_LOST"]
    assert reconstructor.counts.placed == 1 and not reconstructor.sweeping


def test_few_lost_frames_are_bridged_and_the_pose_says_so(make):
    reconstructor = make("constant", direction="+", speed_mm_s=8.0)
    said = feed(reconstructor, a_frame(0), a_frame(3))
    assert names(said) == ["FRAMES_BRIDGED"]
    assert [message.bridged for message in said if isinstance(message, Pose)] == [0, 2]
    assert np.isclose(poses(said)[3][2, 3], 8.0 * 0.15)


def test_a_gap_is_interpolated_but_never_across_lost_frames(make):
    whole, torn = make(), make()
    feed(whole, a_frame(0, z_mm=0), a_frame(1, z_mm=1.8))
    feed(torn, a_frame(0, z_mm=0), a_frame(2, z_mm=1.8))
    assert whole.compounder.voxel_counts(0).interpolated > 0
    assert torn.compounder.voxel_counts(0).interpolated == 0


def test_a_repeated_frame_is_not_placed_twice(make):
    reconstructor = make()
    said = feed(reconstructor, a_frame(0), a_frame(1), a_frame(1), a_frame(0))
    assert names(said) == ["FRAME_REPEATED", "FRAME_REPEATED"]
    assert reconstructor.counts.placed == 2 and reconstructor.counts.ignored == 2


@pytest.mark.parametrize("change", [{"width": 61}, {"spacing_mm": (0.2, 0.21)}, {"depth_mm": 12.0}], ids=str)
def test_a_change_of_geometry_ends_the_sweep_by_name(make, change):
    reconstructor = make()
    other = msgspec.structs.replace(GEOMETRY, **change)
    pixels = np.zeros((other.height, other.width), np.uint8)
    said = feed(reconstructor, a_frame(0), a_frame(1, geometry=other, pixels=pixels), a_frame(2))
    assert names(said) == ["GEOMETRY_CHANGED"]
    assert [m.reason for m in said if isinstance(m, SweepEnded)] == ["GEOMETRY_CHANGED"]


def test_a_probe_that_starts_again_ends_the_sweep_and_begins_a_new_one(make):
    reconstructor = make()
    said = feed(reconstructor, a_frame(0), a_frame(1), a_frame(0, boot_id=2))
    assert names(said) == ["PROBE_RESTARTED"]
    assert [m.epoch for m in said if isinstance(m, Pose)] == [1, 1, 2]
    assert reconstructor.sweeping and reconstructor.counts.placed == 1


def test_a_new_sweep_begins_empty(make):
    reconstructor = make()
    feed(reconstructor, *(a_frame(n) for n in range(5)))
    before = reconstructor.compounder.voxel_counts(0).measured
    feed(reconstructor, a_frame(0, sweep=2))
    assert reconstructor.compounder.voxel_counts(0).measured < before


def test_a_sweep_joined_late_says_what_is_missing(make):
    said = feed(make(), a_frame(7))
    assert names(said) == ["SWEEP_JOINED_LATE"] and len(poses(said)) == 1


def test_frames_without_a_pose_are_counted_and_named_once_per_gap(make):
    reconstructor = make()
    lost_sight = {"pose_status": "invalid", "image_to_reference": None}
    frames = [a_frame(0), a_frame(1, **lost_sight), a_frame(2, **lost_sight), a_frame(3), a_frame(4, **lost_sight)]
    assert names(feed(reconstructor, *frames)) == ["POSE_MISSING", "POSE_MISSING"]
    assert (reconstructor.counts.placed, reconstructor.counts.unplaced) == (2, 3)


def test_an_impossible_pose_is_refused_and_the_sweep_goes_on(make):
    far = np.eye(4)
    far[0, 3] = 1e12
    said = feed(make(), a_frame(0), a_frame(1, image_to_reference=tuple(far.ravel().tolist())), a_frame(2))
    assert names(said) == ["POSE_REFUSED"] and sorted(poses(said)) == [0, 2]


def test_one_outlier_of_the_tracker_does_not_tear_the_volume_open(make):
    reconstructor = make()
    said = feed(reconstructor, a_frame(0), a_frame(1, z_mm=3000.0), a_frame(2), a_frame(3))
    assert names(said) == ["POSE_REFUSED"] and sorted(poses(said)) == [0, 2, 3]
    assert reconstructor.volumes()["ultrasound"].intensity.shape[0] < 20


def test_photoacoustic_frames_without_ultrasound_are_counted_and_do_not_pile_up(make):
    reconstructor = make("constant", direction="+")
    said = feed(reconstructor, *(a_frame(n, modality="photoacoustic") for n in range(3 * MAX_WAITING_FRAMES)))
    assert names(said) == ["POSE_MISSING"] and reconstructor.counts.unplaced == 2 * MAX_WAITING_FRAMES
    reconstructor.finish("stopped")
    assert reconstructor.counts.unplaced == 3 * MAX_WAITING_FRAMES and reconstructor.volumes() == {}


def test_a_restarted_process_does_not_repeat_an_epoch(make):
    first = make()
    second = Reconstructor(first.motion, first.compounder, epoch=1 << 40)
    assert {m.epoch for m in feed(first, a_frame(0)) if isinstance(m, Pose)} == {1}
    assert {m.epoch for m in feed(second, a_frame(1)) if isinstance(m, Pose)} == {(1 << 40) + 1}


def test_the_volume_says_how_its_sweep_ended(make):
    whole, torn = make(), make()
    feed(whole, a_frame(0), a_frame(1, last=True)), feed(torn, a_frame(0), a_frame(1))
    torn.finish("PROBE_SILENT")
    assert [r.volumes()["ultrasound"].metadata["ended"] for r in (whole, torn)] == ["last", "PROBE_SILENT"]


def test_clients_hear_of_filled_holes(make):
    reconstructor = make(fill_holes=True)
    frames = [a_frame(n, z_mm=z) for n, z in ((0, 0.0), (2, 1.6), (4, 3.2))]
    held = {}
    for message in [*feed(reconstructor, *frames), *reconstructor.finish("stopped")]:
        if isinstance(message, Bricks):
            held |= {tuple(c): s for c, s in zip(message.coords.tolist(), message.state, strict=True)}
    assert sum(int((state == 3).sum()) for state in held.values()) == reconstructor.compounder.voxel_counts(0).filled > 0


def test_a_full_volume_ends_the_sweep_and_keeps_what_was_placed(make):
    reconstructor = make(memory_limit_mib=1)
    said = feed(reconstructor, *(a_frame(n, z_mm=4.0 * n) for n in range(200)))
    assert names(said) == ["VOLUME_FULL"]
    assert reconstructor.counts.placed == len(poses(said)) > 0
    assert reconstructor.volumes()["ultrasound"].intensity.any()


def test_an_unverified_direction_is_said_and_a_preset_one_is_not(make):
    assert names(feed(make("constant"), a_frame(0))) == ["DIRECTION_UNVERIFIED"]
    assert names(feed(make("constant", direction="-"), a_frame(0))) == []
    assert names(feed(make(), a_frame(0))) == []


def test_the_other_direction_is_the_mirror_image(make):
    plus, minus = make("constant", direction="+"), make("constant", direction="-")
    frames = [a_frame(n) for n in range(6)]
    forward, backward = poses(feed(plus, *frames)), poses(feed(minus, *frames))
    for n in range(6):
        assert np.allclose(backward[n][2, 3], -forward[n][2, 3]) and np.allclose(backward[n][:2], forward[n][:2])
    a, b = plus.volumes()["ultrasound"], minus.volumes()["ultrasound"]
    assert np.array_equal(a.intensity, b.intensity[::-1])
    assert (a.metadata["direction"], b.metadata["direction"]) == ("+", "-")


def test_a_photoacoustic_image_of_another_pixel_size_shares_the_transducer_face(make):
    reconstructor = make("constant", direction="+")
    coarse = Geometry(width=31, height=20, spacing_mm=(0.4, 0.4))
    pa = a_frame(1, geometry=coarse, pixels=np.full((20, 31), 9, np.uint8), modality="photoacoustic")
    found = poses(feed(reconstructor, a_frame(0), pa, a_frame(2)))
    middle = lambda geometry: np.array([(geometry.width - 1) / 2, 0, 0])  # noqa: E731
    face = Transform("Image", "Reference", found[1]).apply(middle(coarse))
    assert np.allclose(face[:2], Transform("Image", "Reference", found[0]).apply(middle(GEOMETRY))[:2])


def test_sixteen_bit_samples_become_grey_by_their_stated_range(make):
    wide, narrow = make(), make()
    values = TEXTURE.astype(np.uint16) * 16 + 1000
    feed(wide, a_frame(0, pixels=values, sample_range=(1000.0, 1000.0 + 255 * 16)))
    feed(narrow, a_frame(0))
    assert np.array_equal(wide.volumes()["ultrasound"].intensity, narrow.volumes()["ultrasound"].intensity)


def test_convex_frames_are_scan_converted_before_they_are_placed(make):
    convex = Geometry(
        kind="convex", width=64, height=80, spacing_mm=(0.3, 0.3),
        radius_start_mm=10, radius_stop_mm=30, angle_start_deg=-30, angle_stop_deg=30,
    )  # fmt: skip
    polar = np.tile(np.arange(80, dtype=np.uint8)[:, None] * 3, (1, 64))
    table = ScanTable(Sector(64, 80, 10, 30, -30, 30), 0.3)
    reconstructor = make()
    said = feed(reconstructor, a_frame(0, geometry=convex, pixels=polar, image_to_reference=tuple(np.diag([0.3, 0.3, 1, 1]).ravel())))
    assert len(poses(said)) == 1
    volume = reconstructor.volumes()["ultrasound"]
    origin = np.array(volume.origin_mm)
    for k, j, i in np.argwhere(volume.state == 1)[::41]:
        x, y, _ = origin + 0.5 * np.array([i, j, k])
        radius = np.hypot(x - 0.3 * (table.valid.shape[1] - 1) / 2, y + table.z_top_mm)
        assert abs(volume.intensity[k, j, i] - 3 * (radius - 10) / 20 * 79) < 4
    assert (volume.state == 0).any(), "outside the fan nothing is placed"


def test_a_sector_that_makes_no_image_ends_the_sweep_by_name(make):
    huge = Geometry(
        kind="convex", width=64, height=80, spacing_mm=(0.001, 0.001),
        radius_start_mm=10, radius_stop_mm=900, angle_start_deg=-60, angle_stop_deg=60,
    )  # fmt: skip
    said = feed(make(), a_frame(0, geometry=huge, pixels=np.zeros((80, 64), np.uint8)))
    assert names(said) == ["GEOMETRY_REFUSED"] and isinstance(said[-1], SweepEnded)


def test_holes_are_filled_only_on_request_and_are_flagged(make):
    plain, filled = make(), make(fill_holes=True)
    frames = [a_frame(n, z_mm=z) for n, z in ((0, 0.0), (2, 1.6), (4, 3.2))]
    feed(plain, *frames), feed(filled, *frames)
    plain.finish("stopped"), filled.finish("stopped")
    assert plain.compounder.voxel_counts(0).filled == 0
    assert filled.compounder.voxel_counts(0).filled > 0
    assert filled.volumes()["ultrasound"].metadata["voxels_filled"] != "0"


@pytest.mark.parametrize("reason", ["stopped", "VOLUME_FULL"])
def test_without_memory_to_fill_holes_the_sweep_ends_and_its_volume_is_kept(make, monkeypatch, reason):
    reconstructor = make(fill_holes=True)

    def no_memory(channel=0):
        raise VolumeFull("no memory is left to fill holes with")

    feed(reconstructor, a_frame(0), a_frame(1))
    monkeypatch.setattr(reconstructor.compounder, "fill_holes", no_memory)
    said = reconstructor.finish(reason)
    assert names(said) == [*(["VOLUME_FULL"] if reason == "VOLUME_FULL" else []), "HOLES_NOT_FILLED"]
    assert isinstance(said[-1], SweepEnded) and said[-1].reason == reconstructor.ended == reason
    assert reconstructor.volumes()["ultrasound"].metadata["voxels_filled"] == "0"
    assert names(feed(reconstructor, *(a_frame(n, sweep=2) for n in range(2)))) == [], "and the next sweep begins"


def test_a_volume_that_is_full_while_frames_come_ends_the_sweep_though_holes_cannot_be_filled(make, monkeypatch):
    reconstructor = make(fill_holes=True)

    def full(*arguments, **options):
        raise VolumeFull("this machine has no memory left")

    feed(reconstructor, a_frame(0))
    for name in ("place", "fill_holes"):
        monkeypatch.setattr(reconstructor.compounder, name, full)
    said = feed(reconstructor, a_frame(1))
    assert names(said) == ["VOLUME_FULL", "HOLES_NOT_FILLED"] and not reconstructor.sweeping
    assert isinstance(said[-1], SweepEnded)


def test_every_breaking_fault_of_the_reconstructor_tells_the_operator_that_the_sweep_ended():
    for name, fault in FAULTS.items():
        if fault.effect is Effect.BREAK:
            assert "sweep ended" in fault.operator, name
