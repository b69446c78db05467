"""The reconstruction service stays alive to everything else, however long its work takes."""

import time

import pytest
from heart_frames import a_frame
from run_bench import run_service

from edge.messages import Status


@pytest.fixture
def bench(tmp_path):
    with run_service(tmp_path / "volumes") as bench:
        yield bench


def test_a_slow_network_keeps_neither_status_nor_watchdog_waiting(bench):
    """On a hot, throttled or emulated processor one image may take longer than eight do elsewhere."""
    feed, fed = bench.service._reconstructor.feed, []

    def slowly(frame):
        time.sleep(0.2)
        fed.append(frame.sequence)
        return feed(frame)

    bench.service._reconstructor.feed = slowly
    bench.frames.offer(a_frame(0), 1000)
    bench.until(Status, lambda m: m.state == "sweeping")
    for number in range(1, 9):
        bench.frames.offer(a_frame(number), 1000)
    time.sleep(0.2)
    while len(fed) < 9:
        before = len(fed)
        bench.service.step()
        assert len(fed) <= before + 1, "several slow images in one step"
