"""``sonosweep verdict``: whether this boot is good, for whoever updates the system; 0 only where every service was heard without a gap."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from edge.bus import Subscriber, ipc
from edge.commands.options import add_config, read_config
from edge.console import say
from edge.messages import Status
from edge.services import GONE_AFTER_S, SERVICES, WAITING

SUMMARY = "wait until every service has been up without a gap, for an updater's verdict on this boot"
EXAMPLES = """  sonosweep verdict --seconds 60 --within 600       # its exit status is the verdict"""


class Verdict:
    """Fed with who was heard when; ``good`` once all were heard for so long without a gap. No clock, no socket."""

    def __init__(self, names: tuple[str, ...], seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._names = names

    def hear(self, name: str, now: float) -> None:
        """``name`` said its status."""
        if now - self._last.get(name, -GONE_AFTER_S) >= GONE_AFTER_S:
            self._since[name] = now
        self._last[name] = now

    def missing(self, now: float) -> list[str]:
        """Who has not been up for long enough, as of ``now``."""
        return [name for name in self._names if not self._up_s(name, now) >= self._seconds]

    def _up_s(self, name: str, now: float) -> float:
        if name not in self._since or now - self._last[name] >= GONE_AFTER_S:
            return -1.0
        return now - self._since[name]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long, and how long at most."""
    add_config(parser)
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="up without a gap for so long (%(default)s)")
    parser.add_argument("--within", type=float, default=600.0, metavar="S", help="else the boot is not good (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """0: good; 1: not within the time."""
    run_dir = Path(read_config(options).run_dir)
    verdict = Verdict(tuple(SERVICES), options.seconds)
    with zmq.Context() as context:
        subscribers = {name: Subscriber(context, ipc(run_dir, name), (Status,)) for name in SERVICES}
        try:
            missing = _listen(subscribers, verdict, time.monotonic() + options.within, time.monotonic)
        finally:
            for subscriber in subscribers.values():
                subscriber.close()
    say(f"verdict: not good: {', '.join(missing)} not up for {options.seconds:g} s" if missing else "verdict: this boot is good")
    return 1 if missing else 0


def _listen(subscribers: dict[str, Subscriber], verdict: Verdict, until: float, clock: Callable[[], float]) -> list[str]:
    poller = zmq.Poller()
    for subscriber in subscribers.values():
        poller.register(subscriber.socket, zmq.POLLIN)
    while missing := verdict.missing(now := clock()):
        if now > until:
            return missing
        poller.poll(200)
        for name, subscriber in subscribers.items():
            while (message := subscriber.receive()) is not None:
                if isinstance(message, Status) and message.state != WAITING:  # one that cannot do its work makes no boot good
                    verdict.hear(name, clock())
    return []
