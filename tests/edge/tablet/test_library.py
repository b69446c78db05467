"""Sweeps on the disk: nothing is lost, nothing leads out of the folders."""

import threading

import pytest

from edge.files.names import sweep_id
from edge.tablet.library import FILE, Library, NoSuchSweep, Record, SidecarUnreadable, WrongState
from edge.tablet.listing import all_listed

ONE, TWO = sweep_id(0xABC, 1), sweep_id(0xABC, 123456789)


@pytest.fixture
def library(tmp_path):
    library = Library(tmp_path / "sweeps", tmp_path / "volumes")
    for sweep in (ONE, TWO):
        (library.recordings / f"{sweep}_0.mcap").write_bytes(b"recording")
        (library.volumes / f"{sweep}_0.nrrd").write_bytes(b"volume")
        (library.volumes / f"{sweep}_0-state.nrrd").write_bytes(b"states")
        (library.volumes / f"{sweep}_0-photoacoustic.nrrd").write_bytes(b"light")
    return library


def everything(library):
    return sorted(path for folder in (library.recordings, library.volumes) for path in folder.rglob("*") if path.is_file())


def test_a_sweep_without_a_sidecar_is_listed_as_not_saved(library):
    assert set(library.ids()) == {ONE, TWO}
    listed = library.listed(ONE)
    assert (listed["state"], listed["direction_source"], listed["recording"], listed["volume"]) == ("unsaved", "unknown", True, True)
    assert {file["name"] for file in listed["files"]} == {path.name for path in library.files(ONE)}
    assert "path" not in listed


def test_what_is_known_survives_and_the_exam_is_kept(library):
    library.write(Record(id=ONE, frames=200, path=[(0.0, 1.0)], measures=[{"kind": "distance", "value": 3.0}]))
    saved = Library(library.recordings, library.volumes).save(ONE, {"notes": "left calf"})
    assert (saved.state, saved.frames, saved.path) == ("saved", 200, [(0.0, 1.0)])
    assert library.listed(ONE)["exam"] == {"notes": "left calf"} and library.listed(ONE)["measures"][0]["value"] == 3.0


@pytest.mark.parametrize("known", [True, False])
def test_discard_and_restore_move_everything_and_lose_nothing(library, known):
    if known:
        library.save(ONE, {})
    before = {path: path.read_bytes() for path in everything(library)}
    library.discard(ONE)
    assert library.record(ONE).state == "discarded" and library.record(TWO).state == "unsaved"
    assert all(path.parent.name == "trash" for path in library.files(ONE))
    library.restore(ONE)
    assert {path: path.read_bytes() for path in before} == before
    assert library.record(ONE).state == ("saved" if known else "unsaved")


def test_only_the_trash_is_emptied_and_only_of_the_one_that_was_named(library):
    with pytest.raises(WrongState, match="discard it first"):
        library.purge(ONE)
    library.discard(ONE)
    with pytest.raises(WrongState, match="restore it first"):
        library.save(ONE, {})
    with pytest.raises(WrongState, match="in the trash already"):
        library.discard(ONE)
    library.purge(ONE)
    assert library.ids() == [TWO]
    with pytest.raises(NoSuchSweep):
        library.record(ONE)
    with pytest.raises(WrongState, match="not in the trash"):
        library.restore(TWO)


def test_the_newest_volume_is_the_volume_and_a_mirrored_one_does_not_stay(library):
    (library.volumes / f"{ONE}_10.nrrd").write_bytes(b"turned")
    (library.volumes / f"{ONE}_10-state.nrrd").write_bytes(b"turned states")
    (library.volumes / f"{ONE}_0.mha").write_bytes(b"made of the older one")
    for number in (0, 1, 10):
        (library.volumes / f"{ONE}_{number}-view.png").write_bytes(b"a picture of the older one, whatever its number")
    (library.recordings / f"{ONE}_0.mcap.damaged").write_bytes(b"kept aside by a recovery")
    assert [path.name for path in library.volume_files(ONE)] == [f"{ONE}_10.nrrd"]
    library.forget_but(ONE, (f"somewhere/{ONE}_10.nrrd", f"somewhere/{ONE}_10-state.nrrd"))
    assert sorted(path.name for path in library.files(ONE)) == [
        *(f"{ONE}_0.mcap", f"{ONE}_0.mcap.damaged"),
        *(f"{ONE}_10-state.nrrd", f"{ONE}_10.nrrd"),
    ]
    assert library.recording(ONE).name == f"{ONE}_0.mcap"
    assert len(library.files(TWO)) == 4


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", "", f"{TWO}_0.nrrd", f"trash/{ONE}_0.nrrd", f"{ONE}_0.nrrd\0", "a" * 5000]
)
def test_no_name_leads_out_of_the_sweep(library, name):
    (library.recordings.parent / "secret").write_text("secret")
    with pytest.raises(NoSuchSweep):
        library.file(ONE, name)
    with pytest.raises(NoSuchSweep):
        library.files(name)


def test_a_link_is_no_file_of_a_sweep(library, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (library.recordings / f"{ONE}_1.png").symlink_to(tmp_path / "secret")
    with pytest.raises(NoSuchSweep):
        library.file(ONE, f"{ONE}_1.png")


def test_only_what_was_written_down_is_known(library):
    assert library.known(ONE) is None
    library.write(Record(id=ONE, frames=7))
    assert library.known(ONE).frames == 7
    library.discard(ONE)
    assert (library.known(ONE).frames, library.known(ONE).state, library.known(TWO)) == (7, "discarded", None)


def test_a_damaged_sidecar_is_named_and_touches_nothing(library):
    (library.recordings / f"{ONE}.json").write_text('{"id": 3}')
    with pytest.raises(SidecarUnreadable, match="the recording is whole"):
        library.record(ONE)
    assert library.file(ONE, f"{ONE}_0.mcap").read_bytes() == b"recording"


def test_changes_of_what_is_known_do_not_overwrite_each_other(library):
    library.write(Record(id=ONE))

    def measure():
        for _ in range(20):
            with library.changing(ONE) as record:
                record.frames += 1

    threads = [threading.Thread(target=measure) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert library.record(ONE).frames == 60
    with pytest.raises(ZeroDivisionError), library.changing(ONE) as record:
        record.frames = 1 // 0
    assert library.record(ONE).frames == 60


def test_what_vanishes_while_the_sweeps_are_listed_takes_no_other_off_the_list(library, monkeypatch, tmp_path):
    there = list(library._all())
    gone = [
        tmp_path / "sweeps" / f"{ONE}_1.mcap",
        *(tmp_path / "sweeps" / f"{sweep_id(0xABC, 5)}{ending}" for ending in ("_0.mcap", ".json")),
    ]
    vanished = [(path, FILE.fullmatch(path.name)) for path in gone]
    monkeypatch.setattr(library, "_all", lambda: iter([*vanished, *there]))
    told = {one["id"]: one for one in all_listed(library, patients=True)}
    assert told.keys() == {ONE, TWO} and "error" not in told[ONE]
    assert {file["name"] for file in told[ONE]["files"]} == {path.name for path in everything(library) if path.name.startswith(ONE)}
