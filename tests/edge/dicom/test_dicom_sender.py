"""What is due is sent, again where it must be, and no object holds up another."""

import contextlib
import socket
import socketserver
import threading
import time
from contextlib import contextmanager
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from dicom_cases import ORIGIN, exam, phantom
from pynetdicom import AE, evt
from queue_cases import FACTS, Clock, Pacs, send_everything, sender, states

from edge.config import DicomConfig
from edge.dicom import network
from edge.dicom.commitment import Report
from edge.dicom.errors import Unreachable
from edge.dicom.network import Dimse
from edge.dicom.objects import write_object
from edge.dicom.queue import Queue
from edge.dicom.sender import GONE, Outcome
from edge.dicom.stow import StowRs
from edge.dicom.volumes import ENHANCED_US_VOLUME, ultrasound_volume
from edge.files.volumes import Volume


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


def test_one_object_that_breaks_the_connection_holds_up_no_other(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    first = min(queue.add(path).uid for path in files)
    pacs.breaks_on = {first}
    one = sender(queue, pacs, clock)
    assert one.step() == 3 and not one.unreachable
    assert sorted(states(queue).values()) == ["stored", "stored", "waiting"] and queue.entry(first).words == "the connection broke"
    pacs.breaks_on = set()
    send_everything(queue, pacs, clock)
    assert set(states(queue).values()) == {"committed"} and set(pacs.sent.values()) == {1}


def test_two_in_a_row_end_the_pass_and_wait_behind_the_others_in_the_next(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    uids = sorted(queue.add(path).uid for path in files)
    pacs.breaks_on = set(uids[:2])
    one = sender(queue, pacs, clock)
    assert one.step(force=True) == 3 and one.unreachable == "the connection broke" and not pacs.sent
    assert [entry.attempts for entry in queue.entries()] == [1, 1, 0], "the third was not tried"
    assert one.step() == 0, "the network had better have a moment's rest"
    one.step(force=True)
    assert queue.entry(uids[2]).state == "stored" and pacs.sent == {uids[2]: 1}


def test_what_the_pacs_has_does_not_carry_the_words_of_the_network(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    uids = sorted(queue.add(path).uid for path in files)
    pacs.breaks_on = set(uids[1:])
    sender(queue, pacs, clock).step()
    assert [(entry.state, entry.words) for entry in queue.entries()] == [("stored", ""), *[("waiting", "the connection broke")] * 2]


@contextmanager
def pacs_that(store):
    """A PACS whose answer to an object is what ``store`` says of its event; yields a configuration that knows it, and the server."""
    entity = AE(ae_title="PACS")
    entity.add_supported_context(ENHANCED_US_VOLUME)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield DicomConfig(pacs_host="127.0.0.1", pacs_port=server.server_address[1], timeout_s=20, retry_s=1.0), server
    finally:
        entity.shutdown()


def test_an_association_that_one_object_aborts_is_followed_by_another(tmp_path, files):
    queue, got = Queue(tmp_path), []
    poison = min(queue.add(path).uid for path in files)

    def store(event):
        got.append(event.request.AffectedSOPInstanceUID)
        if got[-1] == poison:
            event.assoc.abort()
        return 0

    with pacs_that(store) as (config, _):
        one = sender(queue, Dimse(config, lambda report: None), Clock(), commit=False)
        assert one.step() == 3 and not one.unreachable
    assert len(got) == 3 and sorted(states(queue).values()) == ["stored", "stored", "waiting"]
    assert "while this object was sent" in queue.entry(poison).words


def test_an_association_that_ends_between_two_objects_is_no_object_s_fault(tmp_path, files):
    queue = Queue(tmp_path)
    objects = [(entry, queue.object(entry.uid)) for entry in map(queue.add, files)]
    with pacs_that(lambda event: 0) as (config, server):
        told = Dimse(config, lambda report: None).store(objects)
        kinds = [next(told)[1].kind]
        next(one for one in server.active_associations if one.is_established).abort()  # not that of the plain connection before it
        deadline = time.monotonic() + 30
        while told.gi_frame.f_locals["pacs"].is_established:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kinds += [outcome.kind for _, outcome in told]
    assert kinds == ["stored"] * 3


def passed_on(source, sink, bytes_per_s=0.0):
    with contextlib.suppress(OSError):
        while data := source.recv(16384):
            sink.sendall(data)
            time.sleep(len(data) / bytes_per_s if bytes_per_s else 0)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def slow_line(to_port, bytes_per_s):
    """A port that passes on what is sent to it at that rate, and answers at once."""

    class Line(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.create_connection(("127.0.0.1", to_port)) as far:
                back = threading.Thread(target=passed_on, args=(far, self.request))
                back.start()
                passed_on(self.request, far, bytes_per_s)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Line) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_an_object_may_take_longer_on_its_way_than_a_pacs_to_answer(tmp_path, monkeypatch):
    whole = network.open_entity

    def hasty(config):
        entity = whole(config)
        entity.dimse_timeout = 0.5  # as if 30 s were over: the line takes four times as long
        return entity

    monkeypatch.setattr(network, "open_entity", hasty)
    small = phantom()
    noise = Volume(np.zeros((8, 256, 256), np.uint8), small.origin_mm, small.spacing_mm, small.metadata)
    path = write_object(tmp_path / "a.dcm", ultrasound_volume(noise, exam(), ORIGIN, FACTS, DicomConfig()))
    queue = Queue(tmp_path / "queue")
    entry = queue.add(path)
    with pacs_that(lambda event: 0) as (config, _), slow_line(config.pacs_port, entry.bytes / 2) as port:
        slow = msgspec.structs.replace(config, pacs_port=port)
        ((_, outcome),) = Dimse(slow, lambda report: None).store([(entry, queue.object(entry.uid))])
    assert outcome == Outcome("stored")


def test_a_pacs_that_commits_itself_at_night_is_believed_of_every_time_it_was_asked(tmp_path, files):
    clock, pacs = Clock(), Pacs()
    queue = Queue(tmp_path, clock)
    entry = queue.add(files[0])
    one = sender(queue, pacs, clock, config={"retry_s": 5.0, "longest_retry_s": 900.0})
    for _ in range(3 * 24 * 12):
        one.step()
        clock.s += 300
    assert 70 < len(pacs.asked) < 100, "once an hour, at last"
    one.hear(Report(pacs.asked[0][0], frozenset({entry.uid}), {}))
    assert queue.entry(entry.uid).state == "committed"


def test_a_pacs_that_has_the_object_already_has_it(tmp_path, files):
    queue = Queue(tmp_path)
    queue.add(files[0])
    with pacs_that(lambda event: 0x0111) as (config, _):
        sender(queue, Dimse(config, lambda report: None), Clock(), commit=False).step()
    assert [(entry.state, entry.words) for entry in queue.entries()] == [("stored", "the PACS says that it has it already")]
