"""One consumer's queue in the bridge, behind a stub socket: the moments that real sockets reach too seldom to be tested with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bridge_bench import BridgeBench
from wire_frames import linear_frame

from edge.bus import FrameIntake, FrameQueue, ipc
from edge.config import BridgeConfig
from edge.messages import Frame
from edge.services import SERVICES
from firmware_bridge import consumers
from firmware_bridge.consumers import Consumer, WatchedQueue


class StubQueue:
    """Somebody is connected; ``takes`` says of each frame whether he takes it."""

    def __init__(self, takes: Callable[[StubQueue], bool]) -> None:
        self.taken = True
        self.broken = 0
        self.given: list[Frame] = []
        self._takes = takes

    def offer(self, frame: Frame) -> bool:
        """True where it was taken."""
        if takes := self._takes(self):
            self.given.append(frame)
        return takes

    def wait_for_room(self, longest_ms: int) -> None:
        """There will be none."""


@pytest.fixture
def consumer_of(bench: BridgeBench) -> Iterator[Callable[..., Consumer]]:
    """Makes the consumer ``name`` with a stub for its socket."""
    real = []

    def make(name: str, takes: Callable[[StubQueue], bool]) -> Consumer:
        consumer: Any = Consumer(bench.context, bench.folder, name, SERVICES[name]._replace(patience_ms=0))
        real.append(consumer.queue)
        consumer.queue = StubQueue(takes)
        made: Consumer = consumer
        return made

    yield make
    for queue in real:
        queue.close(0)


def dies_at_a_frame(takes_it: bool) -> Callable[[StubQueue], bool]:
    """A consumer that takes the frame or not, and has gone."""

    def take_and_die(queue: StubQueue) -> bool:
        lives, queue.taken, queue.broken = queue.taken, False, 1
        return lives and takes_it

    return take_and_die


@pytest.mark.parametrize("takes_it", [True, False])
def test_a_reconstructor_that_dies_at_a_frame_is_named_and_the_frame_counted(consumer_of: Callable[..., Consumer], takes_it: bool) -> None:
    consumer = consumer_of("run", dies_at_a_frame(takes_it))
    assert [fault.name for fault in consumer.take(linear_frame(0))] == ["RECONSTRUCTOR_GONE"]
    assert consumer.dropped == 1 and not consumer.waiting


@pytest.mark.parametrize("takes_it", [True, False])
def test_a_recorder_that_dies_at_a_frame_is_named_and_the_frame_waits_for_the_next(
    consumer_of: Callable[..., Consumer], takes_it: bool
) -> None:
    consumer = consumer_of("record", dies_at_a_frame(takes_it))
    assert [fault.name for fault in consumer.take(linear_frame(0))] == ["RECORDER_GONE"]
    assert consumer.take(linear_frame(1)) == []
    assert consumer.dropped == 0 and [frame.sequence for frame in consumer.waiting] == [0, 1]


def test_only_what_a_dead_recorder_had_not_called_safe_is_given_to_the_next(consumer_of: Callable[..., Consumer]) -> None:
    consumer = consumer_of("record", lambda queue: True)
    queue: Any = consumer.queue
    for i in range(5):
        consumer.take(linear_frame(i, received_ns=1000 + i))
    consumer.safe(1002)
    queue.broken = 1
    consumer.take(linear_frame(5, received_ns=1005))
    assert [frame.sequence for frame in queue.given] == [0, 1, 2, 3, 4, 3, 4, 5]


def test_what_is_unsafe_makes_room_for_what_waits(consumer_of: Callable[..., Consumer]) -> None:
    consumer = consumer_of("record", lambda queue: bool(queue.taken))
    queue: Any = consumer.queue
    bound = SERVICES["record"].queue_frames
    for i in range(2 * bound):
        assert consumer.take(linear_frame(i)) == []
    queue.taken, queue.broken = False, 1
    assert [fault.name for fault in consumer.take(linear_frame(2 * bound))] == ["RECORDER_GONE", "RECORDER_OVERFLOW"]
    assert [frame.sequence for frame in consumer.waiting] == list(range(bound, 2 * bound)), "a hole in the recording"


def test_a_recorder_that_was_away_when_its_queue_ran_full_is_told_so_when_it_is_back(consumer_of: Callable[..., Consumer]) -> None:
    consumer = consumer_of("record", lambda queue: bool(queue.taken))
    queue: Any = consumer.queue
    consumer.take(linear_frame(0))
    queue.taken, queue.broken = False, 1
    said = [fault.name for i in range(1, 400) for fault in consumer.take(linear_frame(i))]
    assert said == ["RECORDER_GONE", "RECORDER_OVERFLOW"] and not consumer.overdue()
    queue.taken = True
    assert not consumer.overdue(), "what waits comes first"
    consumer.hand_over()
    assert [fault.name for fault in consumer.overdue()] == ["RECORDER_OVERFLOW"] and not consumer.overdue()
    assert [frame.sequence for frame in queue.given] == [0, *range(SERVICES["record"].queue_frames)]


@pytest.mark.parametrize(("name", "fault"), [("run", "RECONSTRUCTOR_BEHIND"), ("record", "RECORDER_OVERFLOW")])
def test_a_queue_of_large_frames_is_full_by_its_bytes(
    consumer_of: Callable[..., Consumer], monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    monkeypatch.setattr(consumers, "QUEUE_BYTES", 3 * 120)  # of the bench's 12 x 10 pixels
    consumer = consumer_of(name, lambda queue: False)
    assert [consumer.take(linear_frame(i)) for i in range(3)] == [[], [], []]
    assert [raised.name for raised in consumer.take(linear_frame(3))] == [fault]
    assert [frame.sequence for frame in consumer.waiting] == [0, 1, 2] and consumer.dropped == 1


def test_a_frame_larger_than_the_whole_queue_gets_through_when_it_is_empty(
    consumer_of: Callable[..., Consumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "QUEUE_BYTES", 100)
    consumer = consumer_of("record", lambda queue: True)
    assert consumer.take(linear_frame(0)) == consumer.take(linear_frame(1)) == []
    assert consumer.dropped == 0 and not consumer.waiting


def test_a_consumer_that_dies_while_it_is_given_a_frame_has_gone_for_good(bench: BridgeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = ipc(bench.folder, "frames.record")
    queue, intake = WatchedQueue(bench.context, endpoint, 2), FrameIntake(bench.context, endpoint)
    offer = FrameQueue.offer

    def offer_and_lose(self: FrameQueue, frame: Frame, patience_ms: int = 0) -> bool:
        queued = offer(self, frame, patience_ms)
        if queued:
            intake.close()
            assert queue._monitor.poll(5000), "its death is known before the offer has returned"
        return queued

    monkeypatch.setattr(FrameQueue, "offer", offer_and_lose)
    try:
        bench.step_until(lambda: queue.taken)
        bench.step_until(lambda: queue.offer(linear_frame(0)))
        assert not queue.taken and queue.broken == 1
    finally:
        queue.close(0)


def test_the_units_memory_limit_lies_above_what_the_bounds_allow() -> None:
    unit = (Path(__file__).parents[2] / "systemd" / "sonosweep-bridge.service").read_text()
    limit = re.search(r"^MemoryMax=(\d+)G$", unit, re.MULTILINE)
    door = BridgeConfig().queue_frames * BridgeConfig().largest_message_mib << 20
    assert limit and int(limit[1]) << 30 > len(consumers.FULL) * consumers.QUEUE_BYTES + door
