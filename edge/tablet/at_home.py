"""The tablet of a device on one machine: begins the first sweep as the button would, and lets a person play on."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edge.console import say
from edge.errors import SonosweepError
from edge.local_device import LocalDevice
from edge.messages import Status
from edge.tablet.control import ask
from edge.tablet.pairing_text import pairing_text


class NotBegun(SonosweepError):
    """The gateway would not begin a sweep."""


def begin_first(run_dir: Path) -> None:
    """The next image begins a sweep. ``NotBegun``."""
    told = ask(run_dir, "start")
    if told.get("error"):
        raise NotBegun(f"the sweep was not begun: {told['text']}")


def stay(device: LocalDevice, probe: subprocess.Popen[bytes]) -> None:
    """Until Ctrl-C: whenever a tablet starts a sweep, the held probe moves."""
    say(pairing_text(ask(device.run_dir, "pair")))
    say("the device stays; START on the tablet moves the simulated probe; Ctrl-C ends it (`sonosweep tablet pair` opens pairing again:")
    say(f"sonosweep tablet pair --run-dir {device.run_dir})")
    runs = False
    try:
        while probe.poll() is None:
            for service, message in device.hear(0.2):
                if service != "bridge" or not isinstance(message, Status):
                    continue
                began = bool(message.counts.get("operator_sweep")) and not runs
                runs = bool(message.counts.get("operator_sweep"))
                if began and probe.stdin:
                    probe.stdin.write(b"\n")
                    probe.stdin.flush()
    except KeyboardInterrupt:
        say("stopping ...")
