"""Figures of the services in Prometheus's text format, on loopback alone. No name of a patient, tablet or file is among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from aiohttp import web

from edge.console import say
from edge.errors import SonosweepError
from edge.messages import Status
from edge.services import SERVICES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HOST = "127.0.0.1"


class MetricsPortTaken(SonosweepError):
    """The port for metrics cannot be used."""


class Family(NamedTuple):
    """A row of the table: its type and what it means."""

    kind: str
    meaning: str


FAMILIES = {
    "sonosweep_up": Family("gauge", "1 where the service says that it is alive"),
    "sonosweep_frames_received_total": Family("counter", "frames that the bridge took from front ends"),
    "sonosweep_frames_malformed_total": Family("counter", "messages that the bridge refused"),
    "sonosweep_frames_lost_total": Family("counter", "sequence numbers that never came"),
    "sonosweep_frames_dropped_total": Family("counter", "frames that a consumer was too slow for"),
    "sonosweep_sweep_frames_placed": Family("gauge", "frames of the current or last sweep in the volume"),
    "sonosweep_sweep_frames_synced": Family("gauge", "frames of the current or last recording that a power cut cannot take away"),
    "sonosweep_recordings_total": Family("counter", "recordings that were ended"),
    "sonosweep_tablets": Family("gauge", "tablets that are connected"),
    "sonosweep_faults_total": Family("counter", "faults raised, by name"),
    "sonosweep_fault_standing": Family("gauge", "1 for each fault that holds now"),
    "sonosweep_latency_seconds": Family("gauge", "of a stage since the service began; quantile 1 is the longest"),
    "sonosweep_memory_bytes": Family("gauge", "resident memory of the service"),
    "sonosweep_temperature_celsius": Family("gauge", "the hottest part of the device"),
    "sonosweep_throttled": Family("gauge", "1 while heat slows the device down"),
    "sonosweep_free_bytes": Family("gauge", "free space for recordings"),
    "sonosweep_battery_ratio": Family("gauge", "charge of the battery, 0 to 1"),
    "sonosweep_battery_charging": Family("gauge", "1 while the battery charges or is full"),
    "sonosweep_clock_synchronised": Family("gauge", "1 where the clock was set from a time source"),
}
COUNTS = {  # (service, its count): family
    ("bridge", "received"): "sonosweep_frames_received_total",
    ("bridge", "malformed"): "sonosweep_frames_malformed_total",
    ("bridge", "lost"): "sonosweep_frames_lost_total",
    ("run", "placed"): "sonosweep_sweep_frames_placed",
    ("record", "synced"): "sonosweep_sweep_frames_synced",
    ("record", "files"): "sonosweep_recordings_total",
    ("tablet", "clients"): "sonosweep_tablets",
}
HEALTH = {  # figure of a status: (family, factor)
    "celsius": ("sonosweep_temperature_celsius", 1.0),
    "throttled": ("sonosweep_throttled", 1.0),
    "battery_percent": ("sonosweep_battery_ratio", 0.01),
    "charging": ("sonosweep_battery_charging", 1.0),
    "clock_trusted": ("sonosweep_clock_synchronised", 1.0),
    "free_mib": ("sonosweep_free_bytes", float(1 << 20)),
}
Sample = tuple[str, dict[str, str], float]


def exposition(statuses: dict[str, Status]) -> str:
    """The newest status of each service that is alive, as text that Prometheus reads."""
    values: dict[str, dict[str, float]] = {name: {} for name in FAMILIES}
    for name, labels, value in _samples(statuses):
        values[name][_labelled(labels)] = value
    lines: list[str] = []
    for name, family in FAMILIES.items():
        if values[name]:
            lines += [f"# HELP {name} {family.meaning}", f"# TYPE {name} {family.kind}"]
            lines += [f"{name}{labels} {value:.10g}" for labels, value in values[name].items()]
    return "\n".join(lines) + "\n"


async def serve_metrics(port: int, statuses: Callable[[], dict[str, Status]]) -> web.AppRunner:
    """Answer ``GET http://127.0.0.1:port/metrics``, and nothing else; the caller cleans the runner up. ``MetricsPortTaken``."""

    async def tell(request: web.Request) -> web.Response:
        return web.Response(body=exposition(statuses()).encode(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", tell)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as wrong:
        await runner.cleanup()
        raise MetricsPortTaken(
            f"metrics.port {port} cannot be used: {wrong.strerror}; set another [metrics] port, or 0 for none"
        ) from wrong
    return runner


async def serve_metrics_if_wanted(port: int, statuses: Callable[[], dict[str, Status]]) -> web.AppRunner | None:
    """As :func:`serve_metrics`; without them where the port is 0, or taken: the tablets' page does not wait for figures."""
    try:
        return await serve_metrics(port, statuses) if port else None
    except MetricsPortTaken as wrong:
        say(f"tablet: no metrics: {wrong}", "error")
        return None


def _samples(statuses: dict[str, Status]) -> Iterator[Sample]:
    for service in SERVICES:
        yield "sonosweep_up", {"service": service}, float(service in statuses)
    for (service, count), family in COUNTS.items():
        if service in statuses and count in statuses[service].counts:
            yield family, {}, statuses[service].counts[count]
    for service, status in statuses.items():
        for count, value in status.counts.items():
            if count.startswith("to_") and count.endswith("_dropped"):
                yield "sonosweep_frames_dropped_total", {"consumer": count[len("to_") : -len("_dropped")]}, value
        for name, value in status.faults.items():
            yield "sonosweep_faults_total", {"service": service, "name": name}, value
        for name in status.standing:
            yield "sonosweep_fault_standing", {"service": service, "name": name}, 1
        for stage, told in status.latency_ms.items():
            for quantile, ms in zip(("0.5", "0.99", "1"), told, strict=True):
                yield "sonosweep_latency_seconds", {"service": service, "stage": stage, "quantile": quantile}, ms / 1e3
        if "memory_mib" in status.health:
            yield "sonosweep_memory_bytes", {"service": service}, status.health["memory_mib"] * 2**20
        for figure, (family, factor) in HEALTH.items():
            if figure in status.health:
                yield family, {}, status.health[figure] * factor


def _labelled(labels: dict[str, str]) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""
