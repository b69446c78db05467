"""All services of a device, heard from beside them: what each says of itself, how fast it is, and what is wrong with the device."""

from __future__ import annotations

import os
import time
from collections import deque
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from edge.bus import Subscriber, ipc
from edge.console import table
from edge.errors import SonosweepError
from edge.faults import FAULTS
from edge.messages import FaultRaised, Status
from edge.services import GONE_AFTER_S, SERVICES

SPAN_S = 1.0  # over which rates are taken
COLUMNS = ["service", "state", "frames_per_s", "frames", "lost", "p50_ms", "p99_ms", "stage", "memory_mib", "faults"]


class NoDevice(SonosweepError):
    """No device runs in this run directory, or it may not be looked at."""


class Telling(NamedTuple):
    """What says most of a service: the name of a count, and the stage whose latency it is judged by."""

    frames: str
    stage: str


TELLING = {
    "bridge": Telling("received", "hand_over"),
    "run": Telling("frames", "received_to_published"),
    "record": Telling("frames", "sync"),
    "tablet": Telling("", ""),
}


class Overview:
    """Hears every service of the table. ``hear``, then ask. ``NoDevice`` where there is nothing to hear."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run_dir: Path) -> None:
        if not run_dir.is_dir():
            raise NoDevice(
                f"{run_dir}: no such folder, so no service runs; systemctl start sonosweep.target, or name another with --run-dir "
                "(on a desk `sonosweep demo` starts all)"
            )
        if not os.access(run_dir, os.R_OK | os.X_OK):
            raise NoDevice(f"{run_dir}: may not be read by this user; use sudo")
        if shut := [path.name for path in run_dir.glob("*.ipc") if not os.access(path, os.W_OK)]:
            raise NoDevice(f"{run_dir}: {', '.join(sorted(shut))} may not be connected to by this user; use sudo")
        self.run_dir = run_dir
        self._subscribers = {name: Subscriber(context, ipc(run_dir, name), (Status, FaultRaised)) for name in SERVICES}
        self._heard: dict[str, deque[tuple[float, Status]]] = {name: deque() for name in SERVICES}
        self._raised: deque[tuple[float, FaultRaised]] = deque(maxlen=100)

    def hear(self, seconds: float, *, until_known: bool = False) -> None:
        """Listen for ``seconds``; less where ``until_known`` and every service has said enough for its rate."""
        poller = zmq.Poller()
        for subscriber in self._subscribers.values():
            poller.register(subscriber.socket, zmq.POLLIN)
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0 and not (until_known and all(map(self._known, SERVICES))):
            poller.poll(int(min(left_s, 0.1) * 1000) + 1)
            now = time.monotonic()
            for name, subscriber in self._subscribers.items():
                while (message := subscriber.receive()) is not None:
                    if isinstance(message, Status):
                        self._keep(name, now, message)
                    elif isinstance(message, FaultRaised):
                        self._raised.append((now, message))

    def statuses(self) -> dict[str, Status]:
        """The newest of each service that is not silent."""
        now = time.monotonic()
        return {name: heard[-1][1] for name, heard in self._heard.items() if heard and now - heard[-1][0] < GONE_AFTER_S}

    def rows(self) -> list[dict[str, Any]]:
        """One row for each service of the table, silent ones too."""
        alive = self.statuses()
        return [self._row(name, alive[name]) if name in alive else _silent(name) for name in SERVICES]

    def wrong(self, within_s: float = 10.0) -> list[dict[str, str]]:
        """What is not well: silent services, faults that hold, and faults raised within ``within_s``; each with words and cure."""
        alive, now = self.statuses(), time.monotonic()
        silent = [
            _wrong(name, SERVICES[name].gone, f"silent; see: journalctl -u sonosweep-{name}", "The service does not answer.")
            for name in SERVICES
            if name not in alive
        ]
        found = [(status.service, name, detail) for status in alive.values() for name, detail in status.standing.items()]
        found += [(fault.service, fault.name, fault.detail) for at, fault in self._raised if now - at < within_s]
        newest = {(service, name): detail for service, name, detail in found}
        return silent + [_wrong(service, name, detail) for (service, name), detail in newest.items()]

    def device(self) -> dict[str, float]:
        """The device's own figures, as the recorder and the gateway tell them."""
        told: dict[str, float] = {}
        for status in self.statuses().values():
            told |= {name: value for name, value in status.health.items() if name != "memory_mib"}
        return told

    def told(self) -> dict[str, Any]:
        """Everything, as values that JSON knows."""
        wrong = self.wrong()
        rows = [
            row | {"latency_ms": s.latency_ms, "counts": s.counts} if (s := self.statuses().get(row["service"])) else row
            for row in self.rows()
        ]
        return {
            "version": version("sonosweep"),
            "run_dir": str(self.run_dir),
            "well": not wrong,
            "services": rows,
            "device": self.device(),
            "wrong": wrong,
        }

    def text(self) -> str:
        """The table, the device's figures, and a sentence for each thing that is wrong."""
        lines = [table([row | {"faults": _counted(row["faults"])} for row in self.rows()], COLUMNS)]
        if device := _device_line(self.device()):
            lines += ["", device]
        lines += [""] + ([f"{w['service']}: {w['name']}: {w['words']} ({w['detail']})" for w in self.wrong()] or ["all well"])
        return "\n".join(lines)

    def close(self) -> None:
        """Close all subscriptions."""
        for subscriber in self._subscribers.values():
            subscriber.close()

    def _keep(self, name: str, now: float, status: Status) -> None:
        heard = self._heard[name]
        heard.append((now, status))
        while len(heard) > 2 and now - heard[1][0] >= SPAN_S:
            heard.popleft()

    def _known(self, name: str) -> bool:
        heard = self._heard[name]
        return bool(heard) and heard[-1][0] - heard[0][0] >= SPAN_S

    def _row(self, name: str, status: Status) -> dict[str, Any]:
        telling = TELLING[name]
        (first_s, first), (last_s, last) = self._heard[name][0], self._heard[name][-1]
        gained = last.counts.get(telling.frames, 0) - first.counts.get(telling.frames, 0)
        latency = status.latency_ms.get(telling.stage)
        return {
            "service": name,
            "state": status.state,
            "frames_per_s": round(max(gained, 0) / (last_s - first_s), 1) if telling.frames and last_s > first_s else "",
            "frames": status.counts.get(telling.frames, "") if telling.frames else "",
            "lost": status.counts.get("lost", ""),
            "p50_ms": latency[0] if latency else "",
            "p99_ms": latency[1] if latency else "",
            "stage": telling.stage if latency else "",
            "memory_mib": status.health.get("memory_mib", ""),
            "faults": status.faults,
        }


def _silent(name: str) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS, "") | {"service": name, "state": "silent", "faults": {}}


def _wrong(service: str, name: str, detail: str, words: str = "") -> dict[str, str]:
    known = FAULTS.get(name)
    return {"service": service, "name": name, "words": words or (known.operator if known else ""), "detail": detail}


def _counted(faults: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in faults.items())


def _device_line(told: dict[str, float]) -> str:
    words = []
    if "celsius" in told:
        words.append(f"{told['celsius']:.0f} C{', slowed down by heat' if told.get('throttled') else ''}")
    if "free_mib" in told:
        words.append(f"{told['free_mib'] / 1024:.1f} GiB free")
    if "battery_percent" in told:
        words.append(f"battery {told['battery_percent']:.0f} %{' charging' if told.get('charging') else ''}")
    if "clock_trusted" in told:
        words.append("clock synchronised" if told["clock_trusted"] else "clock never synchronised: dates may be wrong")
    return "; ".join(words)
