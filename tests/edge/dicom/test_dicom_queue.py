"""The queue survives power loss at every write: nothing is lost, and no UID ever names two contents, here or at the PACS."""

import builtins
import os
from pathlib import Path

import pytest
from dicom_cases import SWEEP
from queue_cases import Clock, Pacs, send_everything, sender, states

from edge.app import main
from edge.dicom.errors import AlreadyQueued, NoSuchObject, QueueDamaged
from edge.dicom.queue import Queue
from edge.dicom.sender import Outcome
from edge.dicom.sweeps import of_library, write_sweep


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
