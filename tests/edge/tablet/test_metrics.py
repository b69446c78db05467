"""What Prometheus would read: the format to the letter, the figures, and nobody's name."""

import asyncio
import math
import re
import socket
from pathlib import Path

import aiohttp
import pytest
from free_port import free_port

from edge.messages import Status
from edge.services import SERVICES
from edge.tablet.metrics import COUNTS, FAMILIES, HEALTH, MetricsPortTaken, exposition, serve_metrics, serve_metrics_if_wanted

ROOT = Path(__file__).parents[3]
STATUSES = {
    "bridge": Status(
        service="bridge",
        state="receiving",
        counts={"received": 1234, "malformed": 2, "lost": 3, "lost_in_sweep": 1, "to_record_dropped": 0, "to_run_dropped": 7},
        latency_ms={"hand_over": (0.1, 0.25, 9.0)},
        faults={"FRAMES_BRIDGED": 4},
        health={"memory_mib": 40.0},
    ),
    "record": Status(service="record", state="idle", counts={"synced": 12, "files": 3}, standing={"DISK_FULL": 'the "disk"'}),
    "tablet": Status(
        service="tablet",
        state="serving",
        counts={"clients": 2, "jobs": 0},
        health={"celsius": 51.5, "battery_percent": 80.0, "charging": 0.0, "clock_trusted": 1.0, "free_mib": 1024.0, "throttled": 0.0},
    ),
}
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABELS = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
LINE = re.compile(rf"({NAME})(?:\{{(.+)\}})? (\S+)")


def read(text):
    """A strict reader of the text format 0.0.4: HELP then TYPE then the samples of one family, once each, no line that is none."""
    assert text.endswith("\n") and "\r" not in text
    samples, kinds, helped, family = {}, {}, [], ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ", 3)[2]
            assert re.fullmatch(NAME, family) and family not in helped, line
            helped.append(family)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family and name not in kinds and kind in ("counter", "gauge"), line
            kinds[name] = kind
        else:
            match = LINE.fullmatch(line)
            assert match and match[1] == family and family in kinds, line
            labels, at = {}, 0
            while match[2] and at < len(match[2]):
                label = LABELS.match(match[2], at)
                assert label and label[1] not in labels, line
                labels[label[1]], at = label[2], label.end()
            key = (match[1], *sorted(labels.items()))
            assert key not in samples, f"twice: {line}"
            samples[key] = float(match[3])
            assert math.isfinite(samples[key]) and (kinds[family] == "gauge" or samples[key] >= 0), line
            assert (kinds[family] == "counter") == family.endswith("_total"), line
    return samples


def test_the_reader_is_strict():
    for text in (
        "a 1\n",
        "# HELP a b\n# TYPE a gauge\na{x=1} 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a b\n# TYPE a gauge\n\n",
    ):
        with pytest.raises(AssertionError):
            read(text)


def test_the_figures_of_the_services_are_told():
    samples = read(exposition(STATUSES))
    assert samples["sonosweep_frames_received_total",] == 1234 and samples["sonosweep_frames_lost_total",] == 3
    assert samples["sonosweep_frames_dropped_total", ("consumer", "run")] == 7
    assert samples["sonosweep_faults_total", ("name", "FRAMES_BRIDGED"), ("service", "bridge")] == 4
    assert samples["sonosweep_fault_standing", ("name", "DISK_FULL"), ("service", "record")] == 1
    assert samples["sonosweep_latency_seconds", ("quantile", "0.99"), ("service", "bridge"), ("stage", "hand_over")] == 0.00025
    assert samples["sonosweep_memory_bytes", ("service", "bridge")] == 40 * 2**20
    assert samples["sonosweep_temperature_celsius",] == 51.5 and samples["sonosweep_battery_ratio",] == 0.8
    assert samples["sonosweep_free_bytes",] == 2**30 and samples["sonosweep_clock_synchronised",] == 1


def test_a_silent_service_is_down_and_says_nothing_else():
    samples = read(exposition(STATUSES))
    assert {name: samples["sonosweep_up", ("service", name)] for name in SERVICES} == {"bridge": 1, "run": 0, "record": 1, "tablet": 1}
    assert not [key for key in samples if key[0] != "sonosweep_up" and ("service", "run") in key]


def test_odd_text_cannot_break_a_line():
    odd = Status(service="run", state="idle", counts={}, latency_ms={'a"b\\c\nd': (1.0, 2.0, 3.0)})
    assert len([key for key in read(exposition({"run": odd})) if key[0] == "sonosweep_latency_seconds"]) == 3


def test_every_family_of_the_table_is_made_of_something():
    made = {key[0] for key in read(exposition(STATUSES))}
    assert {*COUNTS.values(), *(family for family, _ in HEALTH.values())} <= FAMILIES.keys()
    assert FAMILIES.keys() - made == {"sonosweep_sweep_frames_placed"}, "the reconstructor is silent here"


async def fetched(port):
    runner = await serve_metrics(port, lambda: STATUSES)
    try:
        names = [site.name for site in runner.sites]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                text, kind = await answer.text(), answer.headers["Content-Type"]
            async with session.get(f"http://127.0.0.1:{port}/") as other:
                return names, kind, text, other.status
    finally:
        await runner.cleanup()


def test_it_is_served_on_loopback_alone():
    port = free_port()
    names, kind, text, other = asyncio.run(fetched(port))
    assert names == [f"http://127.0.0.1:{port}"] and kind.startswith("text/plain; version=0.0.4") and other == 404
    assert read(text)["sonosweep_tablets",] == 2


def test_a_port_that_is_taken_is_named_with_the_cure():
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(MetricsPortTaken, match="set another"):
        asyncio.run(serve_metrics(listening.getsockname()[1], lambda: STATUSES))


def test_the_page_is_served_without_figures_where_their_port_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert asyncio.run(serve_metrics_if_wanted(listening.getsockname()[1], lambda: STATUSES)) is None
    assert "no metrics: metrics.port" in capsys.readouterr().err
    assert asyncio.run(serve_metrics_if_wanted(0, lambda: STATUSES)) is None


def test_the_documentation_shows_the_drop_in_that_lets_the_answer_out_of_the_services_sandbox():
    unit = (ROOT / "systemd" / "sonosweep-tablet.service").read_text()
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert "IPAddressDeny=any" in unit and "AF_INET" in unit
    assert "sonosweep-tablet.service.d/metrics.conf" in page and "IPAddressAllow=localhost" in page
