"""Commands about sweeps while files of them are being written, at a gateway without a bus."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from edge.config import Config, DicomConfig
from edge.files.names import sweep_id
from edge.messages import Status
from edge.tablet import sweep_commands as commands
from edge.tablet.library import Library, Record
from edge.tablet.refusals import Refused
from edge.tablet.session import Session
from edge.tablet.wire import Request

SWEEP = sweep_id(0xABC, 1)


class Desk:
    """The gateway's side of a command. ``run`` says what the reconstructor does."""

    def __init__(self, folder):
        self.library = Library(folder / "sweeps", folder / "volumes")
        self.session, self.exporting, self.jobs, self.secure, self.dicom = Session(Config()), set(), [], True, DicomConfig()
        self.asked = []
        self.link = SimpleNamespace(command=self._command)
        (self.library.recordings / f"{SWEEP}_0.mcap").write_bytes(b"recording")
        self.library.write(Record(id=SWEEP, direction_source="operator", motion="constant"))

    async def _command(self, service, **words):
        self.asked.append(words["action"])
        self.words = words
        return SimpleNamespace(error="", detail="")

    def run(self, state, **counts):
        self.session.hear(Status(service="run", state=state, counts=counts), time.monotonic())

    def tell_library(self):
        pass

    def start_job(self, work):
        self.jobs.append(work)

    def does(self, command, client=None, **words):
        return asyncio.run(command(self, client, Request(1, "x", sweep=SWEEP, **words)))


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    for job in desk.jobs:
        job.close()


@pytest.mark.parametrize(("state", "counts"), [("rebuilding", {}), ("saving", {"saving": 1}), ("sweeping", {"saving": 1})])
@pytest.mark.parametrize("name", ["discard", "purge", "flip", "export_"])
def test_nothing_is_moved_or_made_while_a_volume_is_written(desk, name, state, counts):
    if name == "purge":
        desk.library.discard(SWEEP)
    before = sorted(desk.library.files(SWEEP))
    desk.run(state, **counts)
    with pytest.raises(Refused, match="still being written"):
        desk.does(getattr(commands, name), formats=("nrrd",))
    assert sorted(desk.library.files(SWEEP)) == before and not desk.asked and not desk.jobs and not desk.exporting
    desk.run("idle", saving=0)
    desk.does(getattr(commands, name), formats=("nrrd",))


@pytest.mark.parametrize("name", ["discard", "purge", "flip", "export_"])
def test_nothing_is_moved_or_made_twice_while_the_sweep_is_exported(desk, name):
    desk.run("idle")
    if name == "purge":
        desk.library.discard(SWEEP)
    desk.exporting.add(SWEEP)
    with pytest.raises(Refused, match="still being written"):
        desk.does(getattr(commands, name), formats=("nrrd",))
    desk.exporting.clear()
    desk.does(getattr(commands, name), formats=("nrrd",))


@pytest.mark.parametrize(
    ("known", "volume", "asked"),
    [
        (("+", "preset"), True, ("-", "operator")),
        (("-", "operator"), True, ("+", "operator")),
        (("+", "preset"), False, ("+", "preset")),
        (("", "unknown"), False, ("", "unknown")),
    ],
)
def test_only_what_has_a_volume_is_turned_round(desk, known, volume, asked):
    desk.library.write(Record(id=SWEEP, direction=known[0], direction_source=known[1], motion="constant"))
    if volume:
        (desk.library.volumes / f"{SWEEP}_0.nrrd").write_bytes(b"volume")
    assert desk.does(commands.flip) == {"direction": asked[0]}
    assert (desk.words["direction"], desk.words["direction_source"]) == asked


class Client:
    def __init__(self):
        self.told = []

    def tell(self, message):
        self.told.append(message)


def exported(desk):
    """Exports the sweep; the last that the tablet is told of it, and what the job raised."""
    client = Client()

    async def story():
        await commands.export_(desk, client, Request(7, "export", sweep=SWEEP, formats=("zip",)))
        return await asyncio.gather(desk.jobs.pop(), return_exceptions=True)

    (raised,) = asyncio.run(story())
    assert not desk.exporting
    return client.told[-1], raised


def test_the_export_of_a_recording_without_a_volume_is_answered_with_its_cure(desk):
    told, raised = exported(desk)
    assert (told["type"], told["id"], told["files"], raised) == ("job", 7, [], None)
    assert "has no volume; it can be rebuilt" in told["error"]


def test_an_export_that_fails_in_an_unforeseen_way_is_answered_and_not_hidden(desk, monkeypatch):
    def breaks(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(commands, "export", breaks)
    told, raised = exported(desk)
    assert "journal" in told["error"] and isinstance(raised, ZeroDivisionError)


def test_saving_keeps_what_was_noted_while_the_volumes_were_written(desk, monkeypatch):
    desk.library.write(Record(id=SWEEP, direction_source="unverified", exam={"notes": "calf"}))

    def confirm(library, sweep):
        with library.changing(sweep) as record:  # a tablet measures, or fetches, in the meantime
            record.measures, record.fetched = [{"kind": "distance"}], True

    monkeypatch.setattr(commands, "confirm_direction", confirm)
    desk.does(commands.save, direction_confirmed=True)
    record = desk.library.record(SWEEP)
    assert (record.state, record.direction_source, record.exam) == ("saved", "operator", {"notes": "calf"})
    assert record.measures == [{"kind": "distance"}] and record.fetched


def test_a_direction_is_not_written_into_volumes_that_are_being_replaced(desk):
    desk.library.write(Record(id=SWEEP, direction_source="unverified"))
    desk.run("rebuilding")
    with pytest.raises(Refused, match="still being written"):
        desk.does(commands.save, direction_confirmed=True)
