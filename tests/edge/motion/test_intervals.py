"""The time between frames: over the usual one, whatever the frame rate, and told to the network."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network's card is beside it (pip install 'sonosweep[export]')")

from tiny_network import SIZE, card_json

from edge.messages import Frame, Geometry
from edge.motion.card import parse_card
from edge.motion.intervals import Intervals, intervals_of
from edge.motion.network import NetworkMotion

CARD = parse_card(card_json(interval={"input": "interval"}), "card.json")


@pytest.mark.parametrize("period_ns", [17_000_000, 50_000_000])
def test_a_steady_scanner_has_intervals_of_one_and_a_lost_frame_one_of_two(period_ns):
    numbers = np.array([0, 1, 2, 3, 5, 6, 9])
    assert np.allclose(intervals_of(numbers * period_ns), [1, 1, 1, 2, 1, 3])


def test_frames_known_to_be_lost_do_not_make_the_usual_interval_longer():
    follows = Intervals(0)
    assert follows.next(100, elapsed_frames=2) == 2.0
    assert follows.next(150) == 1.0


def test_a_clock_that_stands_still_or_goes_back_counts_frames():
    follows = Intervals(1000)
    assert [follows.next(1100), follows.next(1100), follows.next(900, 3), follows.next(1000)] == [1, 1, 3, 1]


def test_the_usual_interval_forgets_outliers():
    jitter = np.random.default_rng(0).normal(50, 2, 400)
    jitter[10] = 5000
    found = intervals_of(np.cumsum(np.r_[0, jitter] * 1e6).astype(np.int64))
    assert 90 < found[10] < 110 and abs(np.median(found) - 1) < 0.01


class Listens:
    note = ""

    def __init__(self) -> None:
        self.heard: list[float] = []

    def start(self, image):
        pass

    def step(self, image, interval):
        self.heard.append(interval)
        return {"motion": np.zeros((1, 6), np.float32), "log_variance": np.zeros((1, 6), np.float32)}


def test_the_network_hears_how_long_each_step_took_and_every_sweep_begins_anew():
    listens = Listens()
    source = NetworkMotion("x", "none", CARD, listens)
    geometry, image = Geometry(width=SIZE, height=SIZE, spacing_mm=(0.5, 0.5)), np.zeros((SIZE, SIZE), np.uint8)
    for period in (10, 40):
        for at in (0, 1, 2, 4):
            frame = Frame(boot_id=1, sweep=0, sequence=at, timestamp_ns=7 + at * period, geometry=geometry, pixels=image)
            source.step(frame, image, 2 if at == 4 else 1) if at else source.start(frame, image)
    assert listens.heard == [1, 1, 2] * 2
