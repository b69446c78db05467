"""Whose a sweep is, and which volume is the sweep's: whatever begins, ends late, is restarted or turned round meanwhile."""

import asyncio
from pathlib import Path

import pytest
from identity_cases import BOOT, IDLE, Device, bricks, ended, pose, poses, rebuilt
from synthetic_frames import frame

from edge.files.names import sweep_id
from edge.files.recording import write_recording
from edge.files.volumes import read_volume
from edge.messages import FaultRaised, Geometry, Status
from edge.tablet.library import Record
from edge.tablet.store import BrickStore

ONE, TWO = sweep_id(BOOT, 1), sweep_id(BOOT, 2)
ANN, BEN = {"patient_name": "Ann"}, {"patient_name": "Ben"}


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


def test_start_for_the_next_patient_leaves_the_last_sweep_its_own(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1), ended(1))
        assert device.record(ONE).exam == ANN and device.state["exam"] == ANN
        await device.starts(BEN)
        assert device.record(ONE).exam == ANN
        assert (await device.does("exam", exam=BEN))["ok"] and device.record(ONE).exam == ANN

    asyncio.run(story())


def test_a_correction_that_names_the_sweep_reaches_it_until_it_is_kept(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1))
        right = {"patient_name": "Anne"}
        assert (await device.does("exam", sweep=ONE, exam=right))["ok"] and device.state["exam"] == right
        await device.hears(ended(1))
        assert device.record(ONE).exam == right
        assert (await device.does("exam", sweep=ONE, exam=ANN))["ok"] and device.record(ONE).exam == ANN == device.state["exam"]
        device.service.library.save(ONE, ANN)
        assert (await device.does("exam", sweep=ONE, exam=BEN))["error"] == "WRONG_STATE" and device.record(ONE).exam == ANN

    asyncio.run(story())


def test_a_name_typed_while_the_volume_is_written_is_the_next_sweeps(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1))
        await device.does("exam", exam=BEN)
        await device.hears(ended(1))
        assert device.record(ONE).exam == ANN

    asyncio.run(story())


def test_what_is_measured_while_the_volume_is_written_is_kept(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1))
        assert (await device.does("measures", sweep=ONE, measures=[{"kind": "distance"}]))["ok"]
        await device.hears(ended(1))
        assert device.record(ONE).measures == [{"kind": "distance"}]

    asyncio.run(story())


def test_a_sweep_whose_end_is_heard_after_the_next_has_begun_keeps_all_that_is_known_of_it(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1), bricks(1))
        await device.starts(BEN)
        assert device.state is None
        await device.hears(*poses(2, 2, epoch=2), bricks(2, epoch=2))
        device.saves(ONE)
        await device.hears(ended(1), *poses(2, 4, epoch=2)[2:])
        one = device.record(ONE)
        assert (one.exam, one.direction, one.motion, len(one.path), one.length_mm, one.channels) == (
            ANN,
            "+",
            "network",
            4,
            1.5,
            ("ultrasound",),
        )
        assert one.drift_mm and device.state["id"] == TWO and device.state["state"] == "sweeping"
        await device.hears(ended(2, direction="-"))
        two = device.record(TWO)
        assert (two.exam, two.direction, len(two.path), device.state["state"]) == (BEN, "-", 4, "unsaved")
        assert device.service.session.shown.complete and "SWEEP_HALF_HEARD" not in device.service.link.raised

    asyncio.run(story())


def test_an_end_that_is_said_again_changes_nothing(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1), ended(1))
        known = device.record(ONE)
        await device.hears(ended(1))
        assert device.record(ONE) == known and device.state["state"] == "unsaved"
        later = Device(device.service.library.recordings.parent)
        await later.hears(ended(1))
        assert later.record(ONE) == known

    asyncio.run(story())


def test_a_sweep_that_a_power_cut_ended_has_its_patient(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1))
        later = Device(device.service.library.recordings.parent)
        await later.does("exam", exam=BEN)
        assert later.record(ONE).exam == ANN and later.record(ONE).state == "unsaved"

    asyncio.run(story())


def test_a_sweep_that_a_power_cut_ended_keeps_its_patient_when_it_is_rebuilt_and_learns_how_long_it_was(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1))
        write_recording(device.service.library.recordings / f"{ONE}_0.mcap", [frame(n, boot_id=BOOT, sweep=1) for n in range(5)], {})
        later = Device(device.service.library.recordings.parent)
        await later.hears(IDLE)
        await later.does("exam", exam=BEN)
        assert (await later.does("flip", sweep=ONE))["ok"]
        await later.hears(*poses(1), rebuilt(1, "-", later.saves(ONE, direction="-")))
        assert (later.record(ONE).exam, later.record(ONE).duration_s, later.state["exam"]) == (ANN, 0.2, ANN)

    asyncio.run(story())


def test_a_recovered_sweep_that_is_rebuilt_is_nobodys_and_keeps_its_date(device):
    async def story():
        path = device.service.library.recordings / f"{ONE}_0.mcap"
        start = {"started": "2026-01-02T03:04:05Z", "clock_trusted": "true"}
        write_recording(path, [frame(n, boot_id=BOOT, sweep=1) for n in range(5)], start)
        await device.hears(IDLE)
        await device.does("exam", exam=BEN)
        assert (await device.does("flip", sweep=ONE))["ok"]
        await device.hears(*poses(1), rebuilt(1, "-", device.saves(ONE, direction="-")))
        known = device.record(ONE)
        assert (known.exam, known.created, known.clock_trusted) == ({}, "2026-01-02T03:04:05Z", True)
        assert (known.duration_s, known.image_size, known.direction) == (0.2, (24, 16), "-")

    asyncio.run(story())


def test_a_gateway_that_was_started_in_a_rebuild_or_sweep_gives_its_own_form_to_neither(device):
    async def story():
        await device.does("exam", exam=BEN)
        await device.hears(Status(service="run", state="rebuilding", counts={}), *poses(1))
        await device.hears(rebuilt(1, "-", device.saves(ONE, direction="-")))
        assert device.record(ONE).exam == {} and device.state["exam"] == {}
        await device.hears(*poses(2, epoch=2), ended(2))
        assert device.record(TWO).exam == BEN, "that one it heard begin"

    asyncio.run(story())


def test_a_flip_keeps_the_facts_of_the_sweep_and_only_its_own_volume(device):
    async def story():
        library = device.service.library
        (library.recordings / f"{ONE}_0.mcap").write_bytes(b"recording")
        first = device.saves(ONE)
        old = Record(id=ONE, state="saved", created="then", exam=ANN, frames=4, duration_s=6.6, image_size=(640, 480), motion="network")
        old.direction, old.measures = "+", [{"kind": "distance"}]
        library.write(old)
        for made in ("_0.mha", "_0-view.png", "_1-view.png", "_7-view.png", "_0-ultrasound.dcm"):
            (library.volumes / f"{ONE}{made}").write_bytes(b"of the mirror image")
        await device.hears(IDLE, frame(0, sweep=-1))
        await device.does("exam", exam=BEN)
        assert (await device.does("flip", sweep=ONE))["ok"]
        await device.hears(*poses(1))
        assert device.state["exam"] == ANN and device.state["state"] == "rebuilding"
        await device.hears(rebuilt(1, "-", device.saves(ONE, 1, "-")))
        known = device.record(ONE)
        assert (known.state, known.created, known.exam, known.duration_s, known.image_size) == ("saved", "then", ANN, 6.6, (640, 480))
        assert known.direction == "-" and known.measures == [] and device.state["state"] == "saved"
        left = {path.name for path in library.files(ONE)}
        assert left == {f"{ONE}.json", f"{ONE}_0.mcap", f"{ONE}_1.nrrd", f"{ONE}_1-state.nrrd"} and first[0] not in left
        await device.starts(BEN)
        assert device.record(ONE).exam == ANN

    asyncio.run(story())


@pytest.mark.parametrize("how", ["fault", "not written"])
def test_a_rebuild_that_fails_leaves_volume_and_record_and_shows_them(device, how):
    async def story():
        library = device.service.library
        (library.recordings / f"{ONE}_0.mcap").write_bytes(b"recording")
        files = device.saves(ONE)
        old = Record(
            id=ONE, state="saved", exam=ANN, frames=4, motion="network", direction="+", direction_source="operator", path=[(1.0,) * 15]
        )
        library.write(old)
        await device.hears(IDLE)
        assert (await device.does("flip", sweep=ONE))["ok"]
        await device.hears(*poses(1, 2), bricks(1, grey=99))
        end = FaultRaised(service="run", name="REBUILD_FAILED") if how == "fault" else rebuilt(1, "-", ())
        await device.hears(end)
        assert library.record(ONE) == old and all(Path(file).exists() for file in files)
        told, shown = device.state, device.client.shown
        assert (told["state"], told["direction"], told["placed"]) == ("saved", "+", 4)
        assert shown.complete and len(shown.path) == 1 and shown.store.voxels[0, 0].max() == 10

    asyncio.run(story())


def test_a_flip_that_is_refused_leaves_nothing_waiting_and_one_in_the_trash_is_refused(device):
    async def story():
        library = device.service.library
        (library.recordings / f"{ONE}_0.mcap").write_bytes(b"recording")
        library.write(Record(id=ONE, exam=ANN, motion="network"))
        device.service.link.answers["rebuild"] = "SWEEP_RUNS"
        assert (await device.does("flip", sweep=ONE))["error"] == "SWEEP_RUNS"
        assert device.service.session._to_rebuild == {}
        library.discard(ONE)
        assert (await device.does("flip", sweep=ONE))["error"] == "WRONG_STATE"

    asyncio.run(story())


def test_a_pose_that_comes_before_the_answer_to_start_begins_the_sweep(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1), ended(1))
        device.service.link.meanwhile = lambda: device.hears(pose(2, 0, epoch=2))
        await device.starts(BEN)
        assert device.state["id"] == TWO
        await device.hears(*poses(2, epoch=2)[1:], ended(2))
        assert device.record(TWO).exam == BEN and len(device.record(TWO).path) == 4

    asyncio.run(story())


def test_a_late_pose_of_the_last_sweep_after_start_is_its_own(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1, 3))
        await device.starts(BEN)
        await device.hears(pose(1, 3), ended(1))
        assert len(device.record(ONE).path) == 4 and device.record(ONE).exam == ANN and device.state is None

    asyncio.run(story())


def test_a_gateway_that_heard_half_a_sweep_shows_the_saved_volume_and_says_so(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1, 2), bricks(1, grey=99))
        later = Device(device.service.library.recordings.parent)
        await later.does("exam", exam=BEN)
        await later.hears(Status(service="run", state="sweeping", counts={}), *poses(1)[2:], bricks(1, grey=98))
        later.saves(ONE, part=3)
        await later.hears(ended(1))
        known, store = later.record(ONE), BrickStore()
        store.load(read_volume(later.service.library.volume_files(ONE)[0]), 0)
        assert (known.exam, known.frames, len(known.path), known.drift_mm, known.state) == (ANN, 4, 2, None, "unsaved")
        assert later.service.link.raised == ["SWEEP_HALF_HEARD"] and later.state["state"] == "unsaved"
        assert later.client.shown.complete and later.client.shown.store.crc32() == store.crc32()

    asyncio.run(story())


def test_without_a_saved_volume_half_of_it_is_never_called_complete(device):
    async def story():
        await device.hears(*poses(1)[2:], bricks(1), ended(1))
        assert not device.service.session.shown.complete and device.service.link.raised == ["SWEEP_HALF_HEARD"]

    asyncio.run(story())


def test_what_lies_between_other_poses_is_no_step_of_the_path(device):
    async def story():
        await device.starts(ANN)
        light = pose(1, 4, uncertainty=(), derived=True)
        await device.hears(*poses(1), light, ended(1, placed=5))
        known = device.record(ONE)
        assert known.drift_mm > 0 and known.length_mm == 1.5 and len(known.path) == known.frames == 5

    asyncio.run(story())


def test_over_plain_http_the_name_of_a_sweeps_patient_is_not_sent(device):
    async def story():
        await device.starts(ANN)
        await device.hears(*poses(1))
        device.service.secure = False
        device.service._state_at = -1e9
        await device.hears(IDLE)
        told = [message for message in device.client.told if message["type"] == "state"][-1]
        assert told["sweep"]["exam"] == {} == told["exam"] and device.state["exam"] == ANN

    asyncio.run(story())


def test_the_size_of_an_image_is_that_of_the_ultrasound(device):
    async def story():
        await device.starts(ANN)
        wide = Geometry(width=48, height=32, spacing_mm=(0.1, 0.2))
        light = {"geometry": wide, "modality": "photoacoustic", "wavelength_nm": 850.0, "sweep": -1}
        await device.hears(frame(1, **light), *poses(1), ended(1))
        assert device.record(ONE).image_size == (24, 16)

    asyncio.run(story())
