"""The queue survives power loss at every write: nothing is lost, and no UID ever names two contents, here or at the PACS."""

import builtins
import hashlib
import os
from itertools import pairwise
from pathlib import Path

import pytest
from dicom_cases import ORIGIN, SWEEP, exam, phantom
from pynetdicom import AE, evt

from edge.app import main
from edge.config import DicomConfig
from edge.dicom.commitment import Report
from edge.dicom.errors import AlreadyQueued, NoSuchObject, QueueDamaged, Unreachable
from edge.dicom.network import Dimse
from edge.dicom.objects import write_object
from edge.dicom.probe_facts import ProbeFacts
from edge.dicom.queue import Queue
from edge.dicom.sender import GONE, NO_SUCH_OBJECT, Outcome, Sender
from edge.dicom.stow import StowRs
from edge.dicom.sweeps import of_library, write_sweep
from edge.dicom.volumes import ultrasound_volume

FACTS = ProbeFacts(0.7, 0.4, 40.0, (20.0,), (), 0.0, 6.6, (19.0, 0.0))


class Clock:
    """Of the wall, moved by hand."""

    def __init__(self):
        self.s = 1e9

    def __call__(self):
        return self.s


class Pacs:
    """Keeps what it is sent, counts it, and reports when it is asked to."""

    def __init__(self):
        self.held, self.sent, self.asked, self.answer, self.down = {}, {}, [], Outcome("stored"), False

    def store(self, objects):
        for entry, path in objects:
            if self.down:
                raise Unreachable("the cable is out")
            if self.answer.kind == "stored":
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                assert self.held.setdefault(entry.uid, digest) == digest, "one UID, two contents"
                self.sent[entry.uid] = self.sent.get(entry.uid, 0) + 1
            yield entry, self.answer

    def ask_commitment(self, transaction, entries):
        if self.down:
            raise Unreachable("the cable is out")
        self.asked.append((transaction, [entry.uid for entry in entries]))

    def reports(self):
        for transaction, uids in self.asked:
            held = frozenset(uid for uid in uids if uid in self.held)
            yield Report(transaction, held, {uid: NO_SUCH_OBJECT for uid in uids if uid not in held})
        self.asked = []


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three objects."""
    folder = tmp_path_factory.mktemp("objects")
    made = []
    for number in range(3):
        volume = phantom()
        volume.intensity[0, 0, 0] = number
        made.append(write_object(folder / f"{number}.dcm", ultrasound_volume(volume, exam(), ORIGIN, FACTS, DicomConfig())))
    return made


def sender(queue, pacs, clock, **changes):
    config = DicomConfig(**({"retry_s": 1.0, "longest_retry_s": 60.0} | changes.pop("config", {})))
    return Sender(queue, pacs, config, commit=changes.pop("commit", True), now=clock)


def send_everything(queue, pacs, clock):
    """As a device does that stays on: until nothing waits."""
    one = sender(queue, pacs, clock)
    for _ in range(6):
        one.step()
        for report in pacs.reports():
            one.hear(report)
        clock.s += 1000


def states(queue):
    return {entry.name: entry.state for entry in queue.entries()}


def test_what_is_added_is_sent_committed_and_then_not_kept(tmp_path, files):
    queue, pacs, clock = Queue(tmp_path, clock := Clock()), Pacs(), clock
    for path in files:
        queue.add(path)
    send_everything(queue, pacs, clock)
    assert states(queue) == {"0": "committed", "1": "committed", "2": "committed"} and set(pacs.sent.values()) == {1}
    assert not list(tmp_path.glob("*.dcm"))
    queue.add(files[0])
    send_everything(queue, pacs, clock)
    assert set(pacs.sent.values()) == {1}, "what was committed is not sent again"


def test_another_content_under_the_same_uid_is_refused(tmp_path, files):
    queue = Queue(tmp_path / "queue")
    queue.add(files[0])
    changed = tmp_path / "changed.dcm"
    changed.write_bytes(files[0].read_bytes().replace(b"Zyblikiewicz", b"Zyblikiewics"))
    with pytest.raises(AlreadyQueued, match="drop that first"):
        queue.add(changed)


def test_an_unreachable_pacs_is_tried_again_ever_more_seldom(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue, tries = Queue(tmp_path, clock), []
    queue.add(files[0])
    one = sender(queue, pacs, clock)
    pacs.down = True
    for _ in range(1200):
        if one.step():
            tries.append(clock.s)
        clock.s += 0.5
    gaps = [b - a for a, b in pairwise(tries)]
    assert gaps == sorted(gaps) and gaps[0] == 1 and gaps[-1] == 60 and "cable" in queue.entries()[0].words
    pacs.down = False
    send_everything(queue, pacs, clock)
    assert states(queue) == {"0": "committed"}


def test_a_clock_that_was_far_ahead_does_not_hold_the_queue(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    entry = queue.add(files[0])
    queue.change(entry.uid, not_before_s=clock.s + 10**8)
    send_everything(queue, pacs, clock)
    assert states(queue) == {"0": "committed"}


def test_a_refusal_keeps_the_object_and_the_words_until_somebody_decides(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    entry = queue.add(files[0])
    pacs.answer = Outcome("refused", "the PACS refuses it: status 0xA900 no such patient")
    send_everything(queue, pacs, clock)
    assert (
        queue.entry(entry.uid).state == "refused" and "no such patient" in queue.entry(entry.uid).words and queue.object(entry.uid).exists()
    )
    pacs.answer = Outcome("stored")
    queue.retry(entry.uid)
    send_everything(queue, pacs, clock)
    assert queue.entry(entry.uid).state == "committed"
    with pytest.raises(NoSuchObject, match="write the sweep again"):
        queue.retry(entry.uid)


def test_an_object_that_the_pacs_lost_is_sent_again(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    entry = queue.add(files[0])
    one = sender(queue, pacs, clock)
    one.step()
    pacs.held.clear()
    for report in pacs.reports():
        one.hear(report)
    assert queue.entry(entry.uid).state == "waiting" and "does not have the object" in queue.entry(entry.uid).words
    clock.s += 100
    send_everything(queue, pacs, clock)
    assert queue.entry(entry.uid).state == "committed" and pacs.sent[entry.uid] == 2


def test_a_report_that_nobody_asked_for_changes_nothing(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    entry = queue.add(files[0])
    one = sender(queue, pacs, clock)
    one.hear(Report("2.25.1", frozenset({entry.uid}), {}))
    one.step()
    one.hear(Report("2.25.1", frozenset({entry.uid}), {}))
    assert queue.entry(entry.uid).state == "stored" and queue.object(entry.uid).exists()


def test_without_commitment_stored_is_the_end(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    queue.add(files[0])
    one = sender(queue, pacs, clock, commit=False)
    one.step()
    assert states(queue) == {"0": "stored"} and not pacs.asked and one.step(force=True) == 0 and not list(tmp_path.glob("*.dcm"))


class Dropping(Pacs):
    """While it is asked ``at`` something, somebody drops the first object."""

    def __init__(self, queue, at):
        super().__init__()
        self.queue, self.at, self.uid = queue, at, queue.entries()[0].uid

    def drop(self, at):
        if at == self.at and self.uid in {entry.uid for entry in self.queue.entries()}:
            self.queue.drop(self.uid)

    def store(self, objects):
        self.drop("before")
        yield from ((entry, GONE) for entry, path in objects if not path.exists())
        for number, one in enumerate(super().store([one for one in objects if one[1].exists()])):
            yield one
            if number == 0:
                self.drop("between")
        self.drop("after")
        if self.at == "unreachable":
            self.queue.drop(self.uid)
            raise Unreachable("the cable is out")


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("at", ["before", "between", "after", "unreachable"])
def test_what_is_dropped_while_it_is_sent_stops_nothing(tmp_path, files, at, commit):
    clock = Clock()
    queue = Queue(tmp_path, clock)
    for path in files:
        queue.add(path)
    pacs = Dropping(queue, at)
    one = sender(queue, pacs, clock, commit=commit)
    if at == "unreachable" and not commit:
        pacs.answer = Outcome("later", "not now")
    assert one.step() == 3
    assert len(queue.entries()) == 2
    for report in pacs.reports():
        one.hear(report)
    assert pacs.uid not in {entry.uid for entry in queue.entries()} and not list(tmp_path.glob(f"{pacs.uid}*"))


def test_what_is_dropped_between_the_look_and_the_step_stops_nothing(tmp_path, files, monkeypatch):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    gone = queue.add(files[0])
    queue.add(files[1])
    one, due = sender(queue, pacs, clock), queue.due

    def late(*states, **words):
        found = due(*states, **words)
        if gone.uid in {entry.uid for entry in found}:
            queue.drop(gone.uid)
        return found

    monkeypatch.setattr(queue, "due", late)
    assert one.step() == 2 and states(queue) == {"1": "stored"}
    monkeypatch.undo()
    known = queue.entries

    def listed():
        found = known()
        for entry in found:
            queue.drop(entry.uid)
        return found

    monkeypatch.setattr(queue, "entries", listed)
    for report in pacs.reports():
        one.hear(report)
    monkeypatch.undo()
    assert queue.entries() == []


def test_no_way_to_a_pacs_stumbles_over_an_object_that_was_dropped(tmp_path, files):
    queue = Queue(tmp_path)
    entry, other = queue.add(files[0]), queue.add(files[1])
    objects = [(entry, tmp_path / "gone.dcm"), (other, queue.object(other.uid))]
    entity = AE(ae_title="PACS")
    entity.add_supported_context(entry.sop_class)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: 0)])
    try:
        config = DicomConfig(pacs_host="127.0.0.1", pacs_port=server.server_address[1], timeout_s=5)
        assert [outcome.kind for _, outcome in Dimse(config, lambda report: None).store(objects)] == ["refused", "stored"]
    finally:
        entity.shutdown()
    assert list(StowRs(DicomConfig(stow_url="http://127.0.0.1:9/x")).store(objects[:1])) == [(entry, GONE)]


class PowerCut(BaseException):
    """The machine stops here: nothing after it happens."""


class Power:
    """Lets so many changes of the disk happen, and then none."""

    def __init__(self, monkeypatch, left):
        self.left, self.used = left, 0
        for module, name in ((os, "replace"), (os, "fsync"), (os, "unlink"), (os, "mkdir"), (os, "open")):
            monkeypatch.setattr(module, name, self.wrapped(getattr(module, name)))
        whole = builtins.open
        monkeypatch.setattr(Path, "unlink", self.wrapped(Path.unlink))
        monkeypatch.setattr(Path, "open", lambda path, mode="r", *a, **k: self.opened(whole, path, mode, *a, **k))

    def tick(self):
        self.used += 1
        if self.left is not None and self.used > self.left:
            raise PowerCut

    def wrapped(self, call):
        def limited(*arguments, **words):
            self.tick()
            return call(*arguments, **words)

        return limited

    def opened(self, whole, path, mode, *arguments, **words):
        if not set(mode) & set("wxa+"):
            return whole(path, mode, *arguments, **words)
        self.tick()
        return Torn(self, whole(path, mode, *arguments, **words))


class Torn:
    """A file of which the last write before the cut happens by half."""

    def __init__(self, power, file):
        self.power, self.file = power, file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *wrong):
        self.file.close()

    def write(self, data):
        try:
            self.power.tick()
        except PowerCut:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            raise
        return self.file.write(data)


def life(folder, files, pacs, clock, accepted):
    """Add, send, hear."""
    queue = Queue(folder, clock)
    for path in files:
        accepted.add(queue.add(path).uid)
    one = sender(queue, pacs, clock)
    one.step()
    for report in pacs.reports():
        one.hear(report)


def test_power_may_go_at_every_change_of_the_disk(tmp_path, files):
    with pytest.MonkeyPatch.context() as patched:
        power = Power(patched, None)
        life(tmp_path / "whole", files[:2], Pacs(), Clock(), set())
        changes = power.used
    assert changes > 30
    for left in range(changes):
        pacs, clock, accepted, folder = Pacs(), Clock(), set(), tmp_path / f"cut-{left}"
        with pytest.MonkeyPatch.context() as patched:
            Power(patched, left)
            with pytest.raises(PowerCut):
                life(folder, files[:2], pacs, clock, accepted)
        queue = Queue(folder, clock)
        assert accepted <= {entry.uid for entry in queue.entries()}, f"cut after {left} changes: an object was lost"
        for path in files[:2]:
            queue.add(path)  # whoever was told of no success adds it again
        send_everything(queue, pacs, clock)
        assert {entry.state for entry in queue.entries()} == {"committed"} and len(pacs.held) == 2, left
        assert not list(folder.glob("*.part")) and not list(folder.glob(".*.part"))
        assert max(pacs.sent.values()) <= 2, "once more only where the power went between the PACS's answer and our note of it"


def test_what_was_dropped_stays_dropped_wherever_the_power_goes(tmp_path, files):
    def dropped(folder):
        queue = Queue(folder)
        queue.drop(queue.entries()[0].uid)

    with pytest.MonkeyPatch.context() as patched:
        Queue(tmp_path / "whole").add(files[0])
        power = Power(patched, None)
        dropped(tmp_path / "whole")
        changes = power.used
    gone = 0
    for left in range(changes):
        folder = tmp_path / f"cut-{left}"
        Queue(folder).add(files[0])
        with pytest.MonkeyPatch.context() as patched:
            Power(patched, left)
            with pytest.raises(PowerCut):
                dropped(folder)
        left_over = Queue(folder).entries()
        gone += not left_over
        assert len(left_over) == len(list(folder.glob("*.dcm"))), "entry and object go together"
    assert 0 < gone < changes


def test_a_damaged_entry_is_named_and_its_object_can_be_sent_anew(tmp_path, files):
    queue = Queue(tmp_path)
    entry = queue.add(files[0])
    known = tmp_path / f"{entry.uid}.json"
    known.write_bytes(b"{")
    with pytest.raises(QueueDamaged, match="remove this file"):
        queue.entries()
    known.unlink()
    assert Queue(tmp_path).entry(entry.uid).state == "waiting"


def test_entries_hold_nothing_of_the_exam(tmp_path, files):
    queue = Queue(tmp_path)
    entry = queue.add(files[0], name=SWEEP)
    text = (tmp_path / f"{entry.uid}.json").read_text()
    assert not any(word in text for word in ("Zybl", "PAT-", "1961", "ACC-"))
    assert oct(tmp_path.stat().st_mode & 0o777) == "0o700"


def test_dropping_must_be_meant(tmp_path, files, capsys):
    config = tmp_path / "edge.toml"
    config.write_text(f'[dicom]\nfolder = "{tmp_path / "queue"}"\n')
    uid = Queue(tmp_path / "queue").add(files[0]).uid
    words = ["dicom", "queue", "drop", uid, "--config", str(config)]
    assert main(words) == 1 and "say --yes" in capsys.readouterr().err
    assert main([*words, "--yes"]) == 0 and Queue(tmp_path / "queue").entries() == []
    assert main(["dicom", "queue", "retry", "../../etc/passwd", "--config", str(config)]) == 1
    assert main(["dicom", "queue", "retry", "1.2.3", "--config", str(config)]) == 1
    assert "the queue holds no object" in capsys.readouterr().err.splitlines()[-1]
    assert main(["dicom", "send", "--config", str(config)]) == 1 and "dicom.pacs_host" in capsys.readouterr().err


def test_writing_a_sweep_again_queues_nothing_new(library, tmp_path, config):
    queue = Queue(tmp_path / "q")
    for folder in ("a", "b"):
        for path in write_sweep(of_library(library, SWEEP), tmp_path / folder, config).files:
            queue.add(path)
    assert len(queue.entries()) == 5
