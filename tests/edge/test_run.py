"""The reconstruction service stays alive to everything else, however long its work takes."""

import time

import msgspec
import pytest
from heart_frames import a_frame
from run_bench import run_service

from edge.config import VolumeConfig
from edge.messages import Status, SweepEnded


@pytest.fixture
def bench(tmp_path):
    with run_service(tmp_path / "volumes") as bench:
        yield bench


def slow(bench, seconds):
    """Each image takes so long; answers those that were placed."""
    feed, fed = bench.service._reconstructor.feed, []

    def slowly(frame):
        time.sleep(seconds)
        fed.append(frame.sequence)
        return feed(frame)

    bench.service._reconstructor.feed = slowly
    return fed


def test_a_slow_network_keeps_neither_status_nor_watchdog_waiting(bench):
    """On a hot, throttled or emulated processor one image may take longer than eight do elsewhere."""
    fed = slow(bench, 0.2)
    bench.frames.offer(a_frame(0), 1000)
    bench.until(Status, lambda m: m.state == "sweeping")
    for number in range(1, 9):
        bench.frames.offer(a_frame(number), 1000)
    time.sleep(0.2)
    while len(fed) < 9:
        before = len(fed)
        bench.service.step()
        assert len(fed) <= before + 1, "several slow images in one step"


def test_an_image_that_takes_longer_than_a_probe_may_be_silent_does_not_end_its_sweep(bench):
    bench.service._config = msgspec.structs.replace(bench.service._config, volume=VolumeConfig(silent_after_s=0.3))
    slow(bench, 0.4)
    for number in range(3):
        bench.frames.offer(a_frame(number), 1000)
    bench.until(Status, lambda m: m.state == "sweeping" and m.counts["frames"] == 3)
    assert [m.reason for m in bench.heard if isinstance(m, SweepEnded)] == []
    assert bench.until(SweepEnded).reason == "PROBE_SILENT"
