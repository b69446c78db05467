"""A run service that tests drive step by step, on a bus of its own."""

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import zmq

from edge.bus import FrameQueue, Publisher, Subscriber, ipc
from edge.commands.run import open_reconstructor
from edge.config import Config, MotionConfig, VolumeConfig
from edge.messages import Answer, Bricks, Command, FaultRaised, Status, SweepEnded
from edge.run import RunService


def config(run_dir, save=""):
    motion = MotionConfig(source="constant", speed_mm_s=10.0)
    return Config(run_dir=str(run_dir), motion=motion, volume=VolumeConfig(spacing_mm=0.8, threads=1, save=str(save)))


class Bench:
    """A run service that is driven step by step, and what it says."""

    def __init__(self, context, run_dir, save):
        self.tablet = Publisher(context, ipc(run_dir, "tablet"))
        self.frames = FrameQueue(context, ipc(run_dir, "frames.run"), 8)
        self.service = RunService(context, config(run_dir, save), open_reconstructor(config(run_dir, save)))
        self.hears = Subscriber(context, ipc(run_dir, "run"), (Answer, Bricks, SweepEnded, FaultRaised, Status))
        self.heard, self.number = [], 0

    def until(self, kind, also=lambda message: True):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self.service.step()
            while (message := self.hears.receive()) is not None:
                self.heard.append(message)
            if found := next((m for m in self.heard if isinstance(m, kind) and also(m)), None):
                return found
        raise AssertionError(f"heard only {[type(m).__name__ for m in self.heard]}")

    def asks(self, **command):
        self.number += 1
        number = self.number
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self.tablet.say(Command(to="run", number=number, **command))  # a subscriber that is still connecting hears nothing
            self.service.step()
            while (message := self.hears.receive()) is not None:
                self.heard.append(message)
            if found := next((m for m in self.heard if isinstance(m, Answer) and m.number == number), None):
                return found.error
        raise AssertionError("no answer")

    def close(self):
        self.service.close()
        self.hears.close()
        self.tablet.close()
        self.frames.close(0)


@contextmanager
def run_service(save):
    with zmq.Context() as context, tempfile.TemporaryDirectory(prefix="sono-") as run_dir:
        bench = Bench(context, Path(run_dir), save)
        yield bench
        bench.close()
