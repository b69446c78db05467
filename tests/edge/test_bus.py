"""Bounded queues, numbered publications, peers that are missed."""

import time

import numpy as np
import pytest

from edge import peers as peers_module
from edge.bus import BusError, FrameIntake, FrameQueue, Publisher, Subscriber, ipc
from edge.daemon import AlreadyRunning, sole
from edge.messages import FaultRaised, Frame, Geometry, Status, SweepEnded
from edge.peers import Peers


def a_frame(sequence):
    pixels = np.zeros((480, 640), np.uint8)
    return Frame(
        boot_id=1,
        sweep=1,
        sequence=sequence,
        timestamp_ns=0,
        geometry=Geometry(width=640, height=480, spacing_mm=(0.2, 0.2)),
        pixels=pixels,
    )


def eventually(found, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while (value := found()) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return value


def test_a_queue_without_a_consumer_refuses(context, run_dir):
    queue = FrameQueue(context, ipc(run_dir, "frames.run"), 4)
    assert not queue.offer(a_frame(0))
    queue.close(0)


def test_a_full_queue_refuses_and_what_was_taken_arrives_in_order(context, run_dir):
    queue = FrameQueue(context, ipc(run_dir, "frames.run"), 4)
    intake = FrameIntake(context, ipc(run_dir, "frames.run"))
    deadline = time.monotonic() + 5
    while not queue.offer(a_frame(0)) and time.monotonic() < deadline:
        time.sleep(0.005)
    taken = 1
    while taken < 500 and queue.offer(a_frame(taken), patience_ms=20):
        taken += 1
    assert taken < 500, "the queue grew without bound"
    arrived = [eventually(intake.receive).sequence for _ in range(taken)]
    assert arrived == list(range(taken))
    intake.close()
    queue.close(0)


def test_a_slow_subscriber_learns_what_it_lost(context, run_dir):
    publisher = Publisher(context, ipc(run_dir, "run"), messages=5)
    subscriber = Subscriber(context, ipc(run_dir, "run"), (FaultRaised,), messages=5)
    deadline = time.monotonic() + 5
    while subscriber.receive() is None and time.monotonic() < deadline:
        publisher.say(FaultRaised(service="run", name="FRAMES_LOST"))
        time.sleep(0.01)
    first = subscriber.heard(FaultRaised)
    for number in range(20_000):
        publisher.say(FaultRaised(service="run", name="FRAMES_LOST", detail=f"{number:>200}"))
    heard, deadline = 0, time.monotonic() + 20
    while subscriber.heard(FaultRaised) < publisher.said(FaultRaised):
        assert time.monotonic() < deadline, (heard, subscriber.missed)
        if (message := subscriber.receive()) is None:
            publisher.say(FaultRaised(service="run", name="FRAMES_LOST"))  # its number tells what came before it
            message = eventually(subscriber.receive)
        heard += message is not None
    assert heard < 20_000 and heard + subscriber.missed == publisher.said(FaultRaised) - first
    subscriber.close()
    publisher.close()


def test_a_peer_that_falls_silent_is_named_once_and_may_come_back(context, run_dir, monkeypatch):
    monkeypatch.setattr(peers_module, "GONE_AFTER_S", 0.2)
    publisher = Publisher(context, ipc(run_dir, "bridge"))
    peers = Peers(context, run_dir, "record", ("bridge", "run"))
    status = Status(service="bridge", state="idle", counts={})

    def heard():
        publisher.say(status)
        return (peers.check() == [] and peers.alive("bridge")) or None

    assert eventually(heard) and not peers.alive("run")
    assert eventually(lambda: [fault.name for fault in peers.check()] or None) == ["BRIDGE_GONE"]
    assert peers.check() == [] and not peers.alive("bridge")
    assert eventually(heard)
    peers.close()
    publisher.close()


def test_a_socket_path_that_is_too_long_is_refused_by_name(tmp_path):
    with pytest.raises(BusError, match="choose a shorter run_dir"):
        ipc(tmp_path / ("x" * 100), "frames.run")


def test_a_service_runs_once_in_a_run_directory(run_dir):
    with sole(run_dir, "bridge"):
        with sole(run_dir, "run"):
            pass
        with pytest.raises(AlreadyRunning, match="bridge is already running"), sole(run_dir, "bridge"):
            pass
    with sole(run_dir, "bridge"):
        pass


def ended(sweep):
    return SweepEnded(service="run", boot_id=1, sweep=sweep, reason="last", frames=3)


def a_pair(context, run_dir, types):
    """A publisher and a subscriber that have found each other by a status."""
    publisher, subscriber = Publisher(context, ipc(run_dir, "run")), Subscriber(context, ipc(run_dir, "run"), types)

    def found():
        publisher.say(Status(service="run", state="idle", counts={}))
        return subscriber.receive()

    assert eventually(found)
    drain(publisher, subscriber, Status)
    return publisher, subscriber


def drain(publisher, subscriber, kind):
    """Until everything of this kind was heard."""
    deadline = time.monotonic() + 5
    while subscriber.heard(kind) < publisher.said(kind):
        assert time.monotonic() < deadline, (subscriber.heard(kind), publisher.said(kind))
        if subscriber.receive() is None:
            time.sleep(0.005)


def test_the_last_messages_of_a_topic_are_not_missed_unnoticed(context, run_dir):
    publisher, subscriber = a_pair(context, run_dir, (Status, SweepEnded))
    publisher._said[SweepEnded.topic] = 2  # as if a full queue had dropped them: the first two of their kind, and none comes after
    publisher.say(Status(service="run", state="idle", counts={}))
    assert isinstance(eventually(subscriber.receive), Status)
    assert (subscriber.missed, subscriber.heard(SweepEnded)) == (2, 2)
    publisher.say(ended(3))
    assert eventually(subscriber.receive) == ended(3) and subscriber.missed == 2
    subscriber.close()
    publisher.close()


def test_a_publisher_that_was_started_again_is_not_taken_for_one_that_was_missed(context, run_dir):
    publisher, subscriber = a_pair(context, run_dir, (Status, SweepEnded))
    for number in range(5):
        publisher.say(ended(number))
    drain(publisher, subscriber, SweepEnded)
    publisher.close()
    publisher = Publisher(context, ipc(run_dir, "run"))

    def heard():
        publisher.say(Status(service="run", state="idle", counts={}))
        return subscriber.receive()

    assert eventually(heard) and (subscriber.missed, subscriber.heard(SweepEnded)) == (0, 0)
    subscriber.close()
    publisher.close()


def test_the_end_of_a_sweep_is_heard_once_though_its_message_was_dropped(context, run_dir):
    publisher, peers, heard = Publisher(context, ipc(run_dir, "run")), Peers(context, run_dir, "tablet", ("run",)), []

    def hears(*messages):
        for message in messages:
            publisher.say(message)
        peers.check()
        heard.extend(peers.said)
        peers.said.clear()
        return peers.alive("run") or None

    def status(sweep):
        return Status(service="run", state="idle", counts={}, ended=ended(sweep))

    assert eventually(lambda: hears(status(1)))
    hears(status(2), status(2), ended(3), status(3), status(3), ended(4))  # heard in this order: after the last there is no more
    assert eventually(lambda: (hears() and ended(4) in heard) or None)
    assert heard == [ended(2), ended(3), ended(4)], "each once, and not the first, which was before our time"
    assert peers.missed() == []
    publisher._said[SweepEnded.topic] += 7
    hears(status(4))
    (fault,) = eventually(lambda: (hears() and peers.missed()) or None)
    assert (fault.name, fault.service, fault.detail) == ("MESSAGES_MISSED", "tablet", "7 messages of run since the start")
    assert peers.missed() == [], "said once"
    peers.close()
    publisher.close()
