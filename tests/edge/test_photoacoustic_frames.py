"""Photoacoustic frames in the heart: poses between those of their ultrasound neighbours, a channel a wavelength, one pulse energy."""

import msgspec
import numpy as np
import pytest
from heart_frames import GEOMETRY, TEXTURE, a_frame, feed, names, poses

from edge.compounding import CHANNEL_COUNT, VolumeSettings, open_compounder
from edge.config import MotionConfig
from edge.light import BadPulseEnergy
from edge.messages import Bricks, Extras, Geometry, Pose
from edge.motion import Step, open_motion
from edge.motion.constant import Preset
from edge.reconstructor import Reconstructor
from edge.scan_geometry import scan_table
from edge.transform import Transform

MS = 1_000_000


class Given:
    """A source of motion with a pose for each B-mode frame; ``relative`` as a network's."""

    name, relative, backend = "given", True, ""

    def __init__(self, matrices):
        self.matrices = matrices

    def start(self, frame, image):
        return self.step(frame, image, 1)

    def step(self, frame, image, elapsed_frames):
        matrix = self.matrices.get(frame.sequence)
        return Step() if matrix is None else Step(image_to_reference=Transform("Image", "Reference", matrix))


def light(sequence, wavelength_nm=850.0, **changes):
    return a_frame(
        sequence, modality="photoacoustic", wavelength_nm=wavelength_nm, pose_status="missing", image_to_reference=None, **changes
    )


def turned(angle_rad, axis, at_mm):
    """A pose written out with Rodrigues' formula: shares nothing with ``edge.transform``."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross
    matrix[:3, :3] = matrix[:3, :3] @ np.diag([*GEOMETRY.spacing_mm, 1.0])
    matrix[:3, 3] = at_mm
    return matrix


@pytest.fixture
def make():
    opened = []

    def reconstructor(motion="recorded", say_bricks=True, **options):
        opened.append(open_compounder("host", VolumeSettings(max_gap_mm=3.0), 1))
        source = open_motion(MotionConfig(source=motion)) if isinstance(motion, str) else motion
        return Reconstructor(source, opened[-1], direction="+", say_bricks=say_bricks, **options)

    yield reconstructor
    for compounder in opened:
        compounder.close()


def test_a_photoacoustic_frame_is_turned_along_the_arc_and_moved_along_the_line_at_its_time(make):
    axis, before_mm, after_mm = (1.0, -2.0, 0.5), np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.5, 5.0])
    given = {0: turned(0.0, axis, before_mm), 2: turned(0.6, axis, after_mm)}
    frames = [a_frame(0, timestamp_ns=0), light(1, timestamp_ns=30 * MS), a_frame(2, timestamp_ns=40 * MS)]
    found = poses(feed(make(Given(given)), *frames))
    assert np.allclose(found[1], turned(0.45, axis, before_mm + 0.75 * (after_mm - before_mm)), atol=1e-9)
    assert not np.allclose(found[1], (given[0] + 3 * given[2]) / 4, atol=1e-3), "a mean of matrices would be no rotation"


def test_a_photoacoustic_frame_waits_for_its_next_neighbour_and_comes_before_it(make):
    reconstructor = make(Given({0: turned(0, (1, 0, 0), (0, 0, 0)), 2: turned(0, (1, 0, 0), (0, 0, 1.0))}))
    assert list(poses(feed(reconstructor, a_frame(0)))) == [0]
    assert feed(reconstructor, light(1)) == []
    said = feed(reconstructor, a_frame(2))
    assert list(poses(said)) == [1, 2]
    assert [m.derived for m in said if isinstance(m, Pose)] == [True, False], "it is no step of the path"


def test_the_last_photoacoustic_frame_lies_at_the_last_pose_and_that_is_said(make):
    reconstructor = make("constant")
    said = feed(reconstructor, *(light(n) if n % 2 else a_frame(n) for n in range(6)))
    assert sorted(poses(said)) == [0, 1, 2, 3, 4] and names(said) == []
    rest = reconstructor.finish("stopped")
    assert names(rest) == ["POSE_HELD"] and np.array_equal(poses(rest)[5], poses(said)[4])
    assert reconstructor.counts.unplaced == 0 and all(m.derived == bool(m.sequence % 2) for m in said + rest if isinstance(m, Pose))


def test_photoacoustic_frames_long_after_the_last_ultrasound_are_not_placed(make):
    reconstructor = make("constant")
    feed(reconstructor, a_frame(0), light(1), a_frame(2), light(3), light(4), light(5), light(6))
    rest = reconstructor.finish("stopped")
    assert sorted(poses(rest)) == [3, 4] and names(rest) == ["POSE_HELD", "POSE_HELD", "POSE_MISSING"]
    assert reconstructor.counts.unplaced == 2


def test_photoacoustic_frames_before_the_first_ultrasound_are_said_to_be_held(make):
    said = feed(make("constant"), light(0), a_frame(1), a_frame(2))
    assert names(said) == ["POSE_HELD"] and np.array_equal(poses(said)[0], poses(said)[1])


@pytest.mark.parametrize(("lost", "z_mm"), [((), 2.0), ((3, 5, 7), 2.0), ((3, 4, 5), 2.0), ((4,), 2.0)])
def test_lost_light_moves_no_probe_of_constant_motion_and_lost_ultrasound_is_bridged(make, tmp_path, lost, z_mm):
    preset = Preset(motion=(0, 0, 0.5, 0, 0, 0), spread=(0,) * 6, steps=9, frame_interval_s=0.1, sweeps=("a",))
    (tmp_path / "preset.json").write_bytes(msgspec.json.encode(preset))
    source = open_motion(MotionConfig(source="constant", preset=str(tmp_path / "preset.json"), direction="+"))
    found = poses(feed(make(source), *(light(n) if n % 2 else a_frame(n) for n in range(9) if n not in lost)))
    assert found[8][2, 3] == pytest.approx(z_mm)


@pytest.mark.parametrize(
    ("motion", "told", "placed"), [("constant", ["FRAMES_LOST", "POSE_MISSING"], 5), ("recorded", ["POSE_MISSING"], 8)]
)
def test_ultrasound_that_is_missing_in_several_gaps_between_light_is_too_much_to_bridge(make, motion, told, placed):
    lost = (6, 7, 8, 10, 11, 12, 14, 15, 16)  # three in a row at most, and six ultrasound images after number 4
    reconstructor = make(motion)
    said = feed(reconstructor, *(light(n) if n % 2 else a_frame(n) for n in range(21) if n not in lost))
    assert names(said) == ["FRAMES_BRIDGED"] * 3 + told
    assert sorted(poses(said)) == [*range(5), 18, 19, 20][:placed] and reconstructor.sweeping == (motion == "recorded")


def test_a_trackers_outlier_is_judged_before_light_is_placed_on_the_way_to_it(make):
    far = {"z_mm": 190.0}
    at = {"timestamp_ns": 66 * MS}
    frames = [a_frame(0, timestamp_ns=0), light(1, timestamp_ns=33 * MS), a_frame(2, **at, **far), light(3, timestamp_ns=99 * MS)]
    frames += [a_frame(n, timestamp_ns=n * 33 * MS) if n % 2 == 0 else light(n, timestamp_ns=n * 33 * MS) for n in range(4, 9)]
    reconstructor = make()
    said = feed(reconstructor, *frames)
    assert names(said) == ["POSE_REFUSED"] and sorted(poses(said)) == [0, 4, 5, 6, 7, 8]
    assert max(found[2, 3] for found in poses(said).values()) < 5
    assert reconstructor.counts.unplaced == 3


@pytest.mark.parametrize("pixel_mm", [(0.0, 0.0), (0.2, 0.0), (1e-12, 1e-12)])
def test_a_pose_without_an_area_is_no_neighbour_for_light(make, pixel_mm):
    nowhere = tuple(np.diag([*pixel_mm, 1.0, 1.0]).ravel().tolist())
    frames = [light(n) if n % 2 else a_frame(n, **({"image_to_reference": nowhere} if n == 4 else {})) for n in range(9)]
    reconstructor = make()
    said = feed(reconstructor, *frames)
    assert names(said) == ["POSE_REFUSED"]
    assert sorted(poses(said)) == [0, 1, 2, 6, 7, 8] and reconstructor.counts.unplaced == 3


def test_light_lies_between_poses_whose_third_column_a_writer_left_empty(make):
    flat = {n: (0.2, 0, 0, 0, 0, 0.2, 0, 0, 0, 0, 0, 0.4 * n, 0, 0, 0, 1.0) for n in (0, 2)}
    found = poses(feed(make(), a_frame(0, image_to_reference=flat[0]), light(1), a_frame(2, image_to_reference=flat[2])))
    assert found[1][2, 3] == pytest.approx(0.4)


def convex(angles_deg, radii_mm=(40.0, 80.0), spacing_mm=0.5):
    (start, stop), (near, far) = angles_deg, radii_mm
    return Geometry(
        kind="convex", width=64, height=80, spacing_mm=(spacing_mm, spacing_mm),
        radius_start_mm=near, radius_stop_mm=far, angle_start_deg=start, angle_stop_deg=stop,
    )  # fmt: skip


@pytest.mark.parametrize(
    "other", [convex((-15, 15)), convex((-35, 35), (45.0, 70.0)), convex((-35, 10), spacing_mm=0.4), convex((-15, 15), (42.0, 80.0), 0.7)]
)
def test_light_and_sound_of_a_convex_probe_meet_where_its_beams_do_whatever_their_sectors_are(make, other):
    """The beams' meeting point in Reference, from each image by itself: its axis is its middle column, its depth z_top_mm."""
    bmode, polar = convex((-35, 35)), np.full((80, 64), 99, np.uint8)
    pose = np.diag([0.5, 0.5, 1.0, 1.0])

    def meeting(geometry, matrix):
        table = scan_table(geometry)
        middle = [(table.valid.shape[1] - 1) / 2, -table.z_top_mm / geometry.spacing_mm[1], 0]
        return Transform("Image", "Reference", matrix).apply(middle)

    frames = [
        light(n, geometry=other, pixels=polar) if n == 1
        else a_frame(n, geometry=bmode, pixels=polar, image_to_reference=tuple(pose.ravel().tolist()))
        for n in range(3)
    ]  # fmt: skip
    found = poses(feed(make(), *frames))
    assert np.allclose(meeting(other, found[1]), meeting(bmode, found[0]), atol=1e-9)


def test_a_linear_image_on_a_curved_face_is_refused_by_name(make):
    polar = np.full((80, 64), 99, np.uint8)
    frames = [a_frame(n, geometry=convex((-35, 35)), pixels=polar) for n in (0, 2)]
    said = feed(make("constant"), frames[0], light(1), frames[1])
    assert names(said) == ["POSE_REFUSED"] and sorted(poses(said)) == [0, 2]


def test_a_tracked_sweep_whose_light_has_no_poses_is_interpolated_too_and_not_across_a_tracker_that_was_blind(make):
    blind = a_frame(4, pose_status="invalid", image_to_reference=None)
    said = feed(make(), a_frame(0), light(1), a_frame(2), light(3), blind, light(5), a_frame(6), light(7), a_frame(8))
    found = poses(said)
    assert sorted(found) == [0, 1, 2, 6, 7, 8] and np.allclose([found[1][2, 3], found[7][2, 3]], [0.4, 2.8])


def test_live_and_offline_give_the_same_bytes(make):
    frames = [light(n, 750.0 + 100 * (n % 4 == 1)) if n % 2 else a_frame(n) for n in range(12)]
    live, offline = make("constant"), make("constant", say_bricks=False)
    for one in (live, offline):
        feed(one, *frames)
        one.finish("last")
    a, b = live.volumes(), offline.volumes()
    assert list(a) == list(b) == ["ultrasound", "photoacoustic-850nm", "photoacoustic-750nm"]
    for name in a:
        assert a[name].metadata == b[name].metadata and np.array_equal(a[name].intensity, b[name].intensity)
        assert np.array_equal(a[name].state, b[name].state)


def test_each_wavelength_is_a_channel_of_its_own_and_gaps_are_bridged_within_it(make):
    bright, dark = np.full_like(TEXTURE, 200), np.full_like(TEXTURE, 40)
    frames = [a_frame(0)]
    for n in range(1, 12):
        frames.append(light(n, 850.0, pixels=bright) if n % 4 == 1 else light(n, 750.0, pixels=dark) if n % 4 == 3 else a_frame(n))
    reconstructor = make()
    said = feed(reconstructor, *frames, a_frame(12))
    assert {m.sequence: m.channel for m in said if isinstance(m, Bricks)} == {n: (0, 1, 0, 2)[n % 4] for n in range(13)}
    volumes = reconstructor.volumes()
    for name, grey, number in (("photoacoustic-850nm", 200, "1"), ("photoacoustic-750nm", 40, "2")):
        volume = volumes[name]
        assert set(np.unique(volume.intensity[volume.state > 0])) == {grey}
        assert (volume.state == 2).any(), "1.6 mm apart: bridged"
        assert (volume.metadata["channel"], volume.metadata["channel_number"]) == (name, number)
        assert volume.metadata["wavelength_nm"] == name[14:17] and volume.metadata["pulse_energy_normalisation"] == "off"


def test_an_untold_wavelength_has_a_channel_and_a_fifth_one_is_said_once_and_costs_no_ultrasound(make):
    reconstructor = make()
    kinds = [0.0, 700.0, 750.0, 800.0, 850.0, 850.0]
    said = feed(reconstructor, *(f for n, nm in enumerate(kinds) for f in (a_frame(2 * n), light(2 * n + 1, nm))), a_frame(12))
    assert names(said) == ["WAVELENGTHS_TOO_MANY"] and reconstructor.counts.unplaced == 2
    assert {m.channel for m in said if isinstance(m, Bricks)} == set(range(CHANNEL_COUNT))
    assert list(reconstructor.volumes())[1:3] == ["photoacoustic", "photoacoustic-700nm"]


def test_a_new_sweep_names_its_channels_anew(make):
    reconstructor = make()
    feed(reconstructor, a_frame(0), light(1, 850.0), a_frame(2, last=True))
    again = [msgspec.structs.replace(f, sweep=2) for f in (a_frame(0), light(1, 700.0), a_frame(2))]
    feed(reconstructor, *again)
    assert list(reconstructor.volumes()) == ["ultrasound", "photoacoustic-700nm"]


def test_half_the_pulse_energy_is_the_same_volume_where_that_is_asked_for_and_only_there(make):
    strong, weak = np.full_like(TEXTURE, 120), np.full_like(TEXTURE, 60)

    def volume(pixels, energy_mj, **options):
        reconstructor = make(**options)
        feed(reconstructor, a_frame(0, pixels=pixels), light(1, pixels=pixels, extras=Extras(laser_energy_mj=energy_mj)), a_frame(2))
        return reconstructor.volumes()

    at_full, at_half = volume(strong, 20.0, pulse_energy_mj=20.0), volume(weak, 10.0, pulse_energy_mj=20.0)
    name = "photoacoustic-850nm"
    assert np.array_equal(at_full[name].intensity, at_half[name].intensity) and at_full[name].intensity.max() == 120
    assert at_half["ultrasound"].intensity[0].max() == 60, "sound knows no pulse energy"
    assert at_half[name].metadata["pulse_energy_normalisation"] == "to 20 mJ"
    assert at_half[name].metadata["frames_of_told_energy"] == "1"
    assert volume(weak, 10.0)[name].intensity.max() == 60
    for nonsense_mj in (None, 0.0, -5.0, 0.1, 1e5):
        untold = volume(weak, nonsense_mj, pulse_energy_mj=20.0)[name]
        assert untold.intensity.max() == 60 and untold.metadata["frames_of_untold_energy"] == "1"


@pytest.mark.parametrize("energy_mj", [-1.0, float("nan"), float("inf")])
def test_an_impossible_pulse_energy_is_refused_before_the_work(make, energy_mj):
    with pytest.raises(BadPulseEnergy, match="usual energy"):
        make(pulse_energy_mj=energy_mj)
