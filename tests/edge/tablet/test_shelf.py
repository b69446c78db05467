"""Room is made of the oldest sweeps that were saved and fetched, and of nothing else."""

import os

import pytest

from edge.tablet.library import Library, Record, sweep_id
from edge.tablet.shelf import make_room, note_fetched

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
