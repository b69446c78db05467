"""Hooks of the device's maker: programs that are run when the device's state changes, and the word for the end of an empty battery.

Hears the services as any client does; nobody waits for it. The state lies in a file for whoever only wants to look.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import zmq

from edge.atomic import replacing
from edge.bus import Subscriber, ipc
from edge.console import say
from edge.device_state import DeviceState, EmptyBattery, device_state
from edge.messages import Status
from edge.processes import die_with_parent
from edge.services import GONE_AFTER_S, SERVICES, UPDATING

STATE = Path("/run/sonosweep-state/state.json")
HOOKS = Path("/etc/sonosweep/state.d")
EMPTY = "battery-empty"  # in the run directory, for sonosweep-battery-empty.path
NAME = re.compile(r"[a-zA-Z0-9_-]+(\.sh)?")  # as of boot-good.d: run-parts leaves out backups and half-written files too
LONGEST_HOOK_S = 10.0
LOOK_PERIOD_S = 0.25
ASK_AGAIN_S = 60.0
LONGEST_START_S = 60.0  # of services that have not been heard yet; then they are missed


class Hooks:
    """``step`` returns within a quarter of a second. One hook runs at a time; a newer state takes the place of one that waits."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run_dir: Path, folder: Path = HOOKS, state: Path = STATE) -> None:
        """Programs of ``folder`` are run; the state is kept in the file ``state``, whose folder must be there."""
        self._run_dir, self._folder, self._file = run_dir, folder, state
        self._subscribers = {name: Subscriber(context, ipc(run_dir, name), (Status,)) for name in SERVICES}
        self._heard: dict[str, tuple[float, Status]] = {}
        self._begun = time.monotonic()
        self._battery = EmptyBattery()
        self._asked = -ASK_AGAIN_S
        self.state = DeviceState(state="starting")
        self._waiting: list[Path] = []
        self._running: tuple[subprocess.Popen[bytes], float] | None = None
        self._say_state()

    def step(self) -> None:
        """Hear what there is, tell what has changed, run the next hook."""
        time.sleep(LOOK_PERIOD_S)
        now = time.monotonic()
        for name, subscriber in self._subscribers.items():
            while (message := subscriber.receive()) is not None:
                if isinstance(message, Status):
                    self._heard[name] = now, message
        alive = {name: status for name, (at, status) in self._heard.items() if now - at < GONE_AFTER_S}
        awaited = SERVICES.keys() - self._heard.keys() if now - self._begun < LONGEST_START_S else ()
        before, self.state = self.state, device_state(alive, (self._run_dir / UPDATING).exists(), awaited)
        if self.state.key != before.key:
            self._say_state()
        elif self.state != before:
            self._keep()
        if self._battery.off(alive, now) and now - self._asked >= ASK_AGAIN_S:
            self._asked = now
            self._switch_off()
        self._run(now)

    def close(self) -> None:
        """End the hook that runs, close the subscriptions."""
        if self._running is not None:
            self._running[0].kill()
            self._running[0].wait()
        for subscriber in self._subscribers.values():
            subscriber.close()

    def _say_state(self) -> None:
        self._keep()
        with suppress(FileNotFoundError):
            self._waiting = sorted(path for path in self._folder.iterdir() if NAME.fullmatch(path.name) and os.access(path, os.X_OK))

    def _keep(self) -> None:
        with replacing(self._file) as out:
            out.write(msgspec.json.encode(self.state) + b"\n")
        self._file.chmod(0o644)

    def _switch_off(self) -> None:
        """The recording is closed: the unit that may switch the device off watches for this file."""
        say("hooks: the battery is empty and nothing is being written; the device may be switched off", "critical")
        with replacing(self._run_dir / EMPTY) as out:
            out.write(msgspec.json.encode(self.state) + b"\n")

    def _run(self, now: float) -> None:
        if self._running is not None:
            hook, until = self._running
            if hook.poll() is None:
                if now < until:
                    return
                hook.kill()
                hook.wait()
                say(f"hooks: {hook.args!r} took longer than {LONGEST_HOOK_S:g} s and was ended", "warning")
            elif hook.returncode:
                say(f"hooks: {hook.args!r} ended with {hook.returncode}", "warning")
            self._running = None
        if self._waiting:
            self._running = self._begin(self._waiting.pop(0), now)

    def _begin(self, hook: Path, now: float) -> tuple[subprocess.Popen[bytes], float] | None:
        words = [str(hook), self.state.state, *self.state.faults]
        try:
            made = subprocess.Popen(words, stdin=subprocess.PIPE, preexec_fn=die_with_parent)
        except OSError as wrong:
            say(f"hooks: {hook}: {wrong.strerror}", "warning")
            return None
        assert made.stdin is not None
        with suppress(BrokenPipeError), made.stdin:
            made.stdin.write(msgspec.json.encode(self.state) + b"\n")
        return made, now + LONGEST_HOOK_S
