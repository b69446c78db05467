"""One consumer's queue in the bridge, behind a stub socket: the moments that real sockets reach too seldom to be tested with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bridge_bench import BridgeBench
from wire_frames import linear_frame

from edge.config import BridgeConfig
from edge.messages import Frame
from edge.services import SERVICES
from firmware_bridge import consumers
from firmware_bridge.consumers import Consumer


class StubQueue:
    """Somebody is connected; ``takes`` says of each frame whether he takes it."""

    def __init__(self, takes: Callable[[StubQueue], bool]) -> None:
        self.taken = True
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


@pytest.mark.parametrize("name", ["run", "record"])
@pytest.mark.parametrize("takes_it", [True, False])
def test_a_consumer_that_dies_at_a_frame_is_named_and_the_frame_counted(
    consumer_of: Callable[..., Consumer], name: str, takes_it: bool
) -> None:
    def take_and_die(queue: Any) -> bool:
        queue.taken = False
        return takes_it

    consumer = consumer_of(name, take_and_die)
    faults = consumer.take(linear_frame(0))
    assert [fault.name for fault in faults] == [SERVICES[name].gone]
    assert consumer.dropped == 1 and not consumer.waiting


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


def test_the_units_memory_limit_lies_above_what_the_bounds_allow() -> None:
    unit = (Path(__file__).parents[2] / "systemd" / "sonosweep-bridge.service").read_text()
    limit = re.search(r"^MemoryMax=(\d+)G$", unit, re.MULTILINE)
    door = BridgeConfig().queue_frames * BridgeConfig().largest_message_mib << 20
    assert limit and int(limit[1]) << 30 > len(consumers.FULL) * consumers.QUEUE_BYTES + door
