"""Room is made of the oldest sweeps that were saved and fetched, and of nothing else."""

import asyncio
import os

import pytest
from aiohttp.test_utils import TestClient, TestServer

from edge.config import Config, TabletConfig
from edge.files.names import sweep_id
from edge.tablet.doors import Doors
from edge.tablet.library import Library, Record
from edge.tablet.shelf import Shelf, is_whole, make_room, note_fetched

SWEEPS = [sweep_id(0xABC, number) for number in range(5)]  # the oldest first


@pytest.fixture
def library(tmp_path):
    library = Library(tmp_path / "sweeps", tmp_path / "volumes")
    for age, sweep in enumerate(SWEEPS):
        library.write(Record(id=sweep))
        (library.recordings / f"{sweep}_0.mcap").write_bytes(b"x" * 100_000)
        (library.volumes / f"{sweep}_0.nrrd").write_bytes(b"x" * 100_000)
        for path in library.files(sweep):
            os.utime(path, (1_000_000 + age, 1_000_000 + age))
    return library


def keep(library, *sweeps, fetched=True):
    for sweep in sweeps:
        times = {path: path.stat().st_mtime for path in library.files(sweep)}
        library.save(sweep, {})
        if fetched:
            note_fetched(library, sweep)
        for path, at in times.items():
            os.utime(path, (at, at))


def test_the_oldest_go_first_and_no_more_than_must(library):
    keep(library, *SWEEPS)
    assert make_room(library, 650_000) == SWEEPS[:2]
    assert sorted(library.ids()) == SWEEPS[2:]
    assert make_room(library, 650_000) == []


def test_what_was_not_saved_or_not_fetched_never_goes(library):
    keep(library, SWEEPS[1], SWEEPS[3], fetched=False)
    keep(library, SWEEPS[2])
    library.discard(SWEEPS[4])
    assert make_room(library, 0) == [SWEEPS[2]]
    assert sorted(library.ids()) == [SWEEPS[0], SWEEPS[1], SWEEPS[3], SWEEPS[4]]


def test_being_fetched_is_remembered(library):
    keep(library, SWEEPS[0])
    assert Library(library.recordings, library.volumes).record(SWEEPS[0]).fetched
    assert library.listed(SWEEPS[0])["fetched"] is True and library.listed(SWEEPS[1])["fetched"] is False


def test_a_sweep_that_is_being_exported_stays(library):
    keep(library, *SWEEPS)
    assert make_room(library, 650_000, [SWEEPS[0]]) == SWEEPS[1:3]


@pytest.fixture
def parted(tmp_path):
    """A library whose one sweep has two parts of a recording, and a volume of two channels with their states."""
    library = Library(tmp_path / "sweeps", tmp_path / "volumes")
    for name in (
        "_0.mcap",
        "_1.mcap",
        "_0.nrrd",
        "_0-state.nrrd",
        "_0-photoacoustic-850nm.nrrd",
        "_0-photoacoustic-850nm-state.nrrd",
        "_0.zip",
    ):
        (library.volumes if "mcap" not in name else library.recordings).joinpath(SWEEPS[0] + name).write_bytes(b"x")
    return library


@pytest.mark.parametrize(
    "fetched",
    [
        ("_0.mcap", "_1.mcap"),
        ("_0.nrrd", "_0-photoacoustic-850nm.nrrd"),
        ("_0.mha", "_0-photoacoustic-850nm.mha", "_0-view.png"),
        ("_0.nii.gz", "_0-photoacoustic-850nm.nii.gz"),
        ("_0.zip",),
    ],
)
def test_who_has_all_parts_or_all_channels_or_the_archive_has_the_sweep(parted, fetched):
    names = {SWEEPS[0] + name for name in fetched}
    assert is_whole(parted, SWEEPS[0], names)
    assert not is_whole(parted, SWEEPS[0], names - {SWEEPS[0] + fetched[0]})


@pytest.mark.parametrize(
    "fetched",
    [
        (),
        ("_0.mcap",),
        ("_0.nrrd",),
        ("_0.nrrd", "_0-photoacoustic-850nm.mha"),
        ("_0.nii.gz", "_0-state.nii.gz"),
        ("_0-state.nii.gz", "_0-photoacoustic-850nm-state.nii.gz"),
        ("_0.igs.mha",),
        ("_1.zip",),
        ("_0-view.png", "_0.dcm", ".json"),
    ],
)
def test_who_has_only_a_part_has_not_the_sweep(parted, fetched):
    assert not is_whole(parted, SWEEPS[0], {SWEEPS[0] + name for name in fetched})


def test_a_sweep_counts_as_fetched_when_its_last_part_has_left_the_device(parted, tmp_path):
    async def story():
        doors = Doors(TabletConfig(folder=str(tmp_path / "tablet"), secure=False), 0)
        Shelf(parted, doors, lambda: None, Config())
        async with TestClient(TestServer(doors.app, host="127.0.0.1")) as client:
            doors.port = client.port
            doors.open_pairing()
            host = {"Host": f"127.0.0.1:{client.port}", "Origin": f"http://127.0.0.1:{client.port}"}
            await client.post("/api/pair", json={"code": doors.window.code, "name": "iPad"}, headers=host)
            for name, whole in (("_0-state.nrrd", False), ("_0.mcap", False), ("_1.mcap", True)):
                async with client.get(f"/api/sweeps/{SWEEPS[0]}/files/{SWEEPS[0]}{name}", headers=host) as answer:
                    assert (answer.status, await answer.read()) == (200, b"x")
                await asyncio.sleep(0.1)
                assert parted.record(SWEEPS[0]).fetched is whole, name

    asyncio.run(story())
