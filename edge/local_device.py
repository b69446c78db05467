"""A whole device on one machine: every service of the table as its own process, in a private run directory.

The demo and the tests use it. On a device systemd does this work.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import msgspec
import zmq

from edge.bus import Subscriber, ipc
from edge.config import Config
from edge.errors import SonosweepError
from edge.messages import Message, Status
from edge.processes import die_with_parent
from edge.services import CLIENTS_HEAR, CORE, SERVICES, WAITING

START_S = 60.0
STOP_S = 30.0


class ServiceFailed(SonosweepError):
    """A service did not start, or ended by itself; the message ends with the last words of its log."""


def as_toml(config: Config) -> str:
    """``config`` as the text of a configuration file."""
    values = msgspec.to_builtins(config)
    top = {key: value for key, value in values.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not keep the other processes from being stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class LocalDevice:
    """``with LocalDevice(config) as device:`` the services ``names`` run and have said so; at the end all are stopped and gone.

    ``config.run_dir`` must be a short private folder (sockets have short names); logs are written there.
    """

    def __init__(self, config: Config, names: tuple[str, ...] = CORE) -> None:
        self.config = config
        self.run_dir = Path(config.run_dir)
        self._names = names
        self._context = zmq.Context()
        self._subscribers: dict[str, Subscriber] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.status: dict[str, Status] = {}  # the last of each service

    def __enter__(self) -> LocalDevice:
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (self.run_dir / "edge.toml").write_text(as_toml(self.config))
        try:
            for name in self._names:
                self._subscribers[name] = Subscriber(self._context, ipc(self.run_dir, name), CLIENTS_HEAR, messages=100_000)
                self.start(name)
            self.wait_for(set(self._names))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str) -> None:
        """Start (or, after a kill, restart) one service."""
        words = shlex.split(SERVICES[name].command)[1:]
        command = [sys.executable, "-m", "edge", *words, "--config", str(self.run_dir / "edge.toml")]
        with (self.run_dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent
            )

    def wait_for(self, names: set[str], timeout_s: float = START_S) -> None:
        """Until each of ``names`` has said its status; ``ServiceFailed`` where one does not."""
        missing, deadline = set(names), time.monotonic() + timeout_s
        while missing:
            for service, message in self.hear(0.1):
                if isinstance(message, Status):
                    missing.discard(service)
                    if message.state == WAITING:
                        raise ServiceFailed(f"{service} cannot begin: {'; '.join(message.standing.values())}")
            for name in missing:
                if self.processes[name].poll() is not None:
                    raise ServiceFailed(f"{name} ended while starting: {self.last_words(name)}")
            if missing and time.monotonic() > deadline:
                name = sorted(missing)[0]
                raise ServiceFailed(f"{name} did not come up within {timeout_s:.0f} s: {self.last_words(name)}")

    def hear(self, timeout_s: float) -> Iterator[tuple[str, Message]]:
        """What the services have said, for at most ``timeout_s`` (less where something waits)."""
        poller = zmq.Poller()
        for subscriber in self._subscribers.values():
            poller.register(subscriber.socket, zmq.POLLIN)
        poller.poll(int(timeout_s * 1000))
        for name, subscriber in self._subscribers.items():
            while (message := subscriber.receive()) is not None:
                if isinstance(message, Status):
                    self.status[name] = message
                yield name, message

    @property
    def missed(self) -> int:
        """Messages that were said and that we were too slow to hear."""
        return sum(subscriber.missed for subscriber in self._subscribers.values())

    def last_words(self, name: str) -> str:
        """The end of a service's log."""
        lines = (self.run_dir / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    def kill(self, name: str) -> None:
        """kill -9, as the out-of-memory killer would."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        """SIGTERM to all in the order of the frames' way, so that each can finish what reached it; kill what hangs."""
        with _undisturbed():
            self._stop()

    def _stop(self) -> None:
        for name in self._names:
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._context.term()
