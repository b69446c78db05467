"""The conformance kit: a good front end keeps every rule, and for each rule there is one that breaks it and is caught."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from test_wire_in_c import send_frames  # noqa: F401  (a fixture)
from wire_frames import frames

from edge.app import main
from edge.config import BridgeConfig
from edge.messages import Extras, Frame, Geometry, ImuSample
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep
from firmware_bridge.conformance import RULES, Declared, Result, judge
from firmware_bridge.conformance_report import as_html, as_markdown, rules_table
from firmware_bridge.heard import Heard
from firmware_bridge.listening import Door
from firmware_bridge.probe import FrontEnd
from firmware_bridge.wire import HEADER, encode_frame, sealed

BOOT, STEP_NS, RATE = 0xFEDCBA9876543210, 33_333_333, 30.0
GEOMETRY = Geometry(width=64, height=48, spacing_mm=(0.3, 0.3), depth_mm=14.4)


def good(count: int = 120, sweeps: int = 2) -> list[Frame]:
    """Two tracked sweeps at 30 frames/s, with an IMU."""
    frames = []
    for n in range(count):
        sweep, sequence = divmod(n, count // sweeps)
        time_ns = 5_000_000_000 + n * STEP_NS
        imu = tuple(
            ImuSample(timestamp_ns=time_ns - back, acceleration_m_s2=(0.0, 0.0, 9.8), angular_velocity_rad_s=(0.0, 0.0, 0.0))
            for back in (5_000_000, 0)
        )
        pose = np.diag([0.3, 0.3, 1.0, 1.0])
        pose[2, 3] = 0.2 * sequence
        frames.append(
            Frame(
                boot_id=BOOT,
                sweep=sweep,
                sequence=sequence,
                timestamp_ns=time_ns,
                last=sequence == count // sweeps - 1,
                geometry=GEOMETRY,
                pose_status="ok",
                image_to_reference=tuple(pose.ravel().tolist()),
                extras=Extras(imu=imu, mechanical_index=0.7),
                pixels=np.random.default_rng(n).integers(0, 255, (48, 64), dtype=np.uint8),
            )
        )
    return frames


Messages = list[tuple[list[Any], int]]


def sent(frames: list[Frame]) -> Messages:
    """As they arrive: 2 ms after their time, whatever their clock shows."""
    return [(list(encode_frame(frame)), 900_000_000_000 + n * STEP_NS) for n, frame in enumerate(frames)]


def tried(
    messages: Messages, *, rate: float = RATE, connections: int = 1, cut_at: int = -1, held: range = range(0), never_back: bool = False
) -> dict[str, Result]:
    heard = Heard()
    for _ in range(connections):
        heard.connected()
    for n, (parts, received_ns) in enumerate(messages):
        if n == cut_at:
            heard.cut()
        heard.hold(n in held)
        heard.take(parts, received_ns)
    heard.never_back = never_back
    return {one.rule: one for one in judge(heard, Declared(rate))}


def broken(found: dict[str, Result]) -> set[str]:
    return {name for name, one in found.items() if one.outcome == "fail"}


def changed(n: int, **changes: Any) -> Messages:
    """A good front end, but for frame ``n``."""
    frames = good()
    frames[n] = msgspec.structs.replace(frames[n], **changes)
    return sent(frames)


def every(change: Callable[[int, Frame], dict[str, Any]]) -> Messages:
    return sent([msgspec.structs.replace(frame, **change(n, frame)) for n, frame in enumerate(good())])


def header(n: int, field: str, value: Any) -> Messages:
    """A good front end whose header ``n`` has another value, with the checksum made right."""
    messages = sent(good())
    parts = messages[n][0]
    row = np.frombuffer(bytearray(parts[0]), HEADER).copy()
    row[field] = value
    messages[n] = (list(sealed([row.tobytes(), *parts[1:]])), messages[n][1])
    return messages


def raw(n: int, change: Callable[[list[Any]], list[Any]]) -> Messages:
    messages = sent(good())
    messages[n] = (change(messages[n][0]), messages[n][1])
    return messages


def damaged(parts: list[Any]) -> list[Any]:
    payload = bytearray(parts[2])
    payload[7] ^= 1
    return [*parts[:2], bytes(payload)]


def without(*gone: int) -> Messages:
    return [message for n, message in enumerate(sent(good())) if n not in gone]


def swapped() -> Messages:
    messages = sent(good())
    messages[20], messages[21] = messages[21], messages[20]
    return messages


SKEWED = np.diag([0.3, 0.3, 1.0, 1.0])
SKEWED[0, 1] = 0.2
WIDE = msgspec.structs.replace(GEOMETRY, spacing_mm=(0.6, 0.3))
METRES = msgspec.structs.replace(GEOMETRY, spacing_mm=(0.003, 0.003), depth_mm=0.144)
NO_POSE: dict[str, Any] = {"pose_status": "missing", "image_to_reference": None}
LATER_IMU = Extras(imu=(ImuSample(timestamp_ns=1, acceleration_m_s2=(0.0, 0.0, 9.8), angular_velocity_rad_s=(0.0, 0.0, 0.0)),))
FREQUENCIES = {n: good()[n].timestamp_ns for n in range(120)}

# What breaks each rule, and which other rules it cannot help breaking.
MUTANTS: dict[str, tuple[Callable[[], dict[str, Result]], set[str]]] = {
    "connects": (lambda: tried([]), set()),
    "parts": (lambda: tried(raw(9, lambda parts: parts[:2])), {"sequence"}),
    "magic": (lambda: tried(raw(9, lambda parts: [b"XXXX" + bytes(parts[0])[4:], *parts[1:]])), {"sequence"}),
    "version": (lambda: tried(header(9, "version", 2)), {"sequence"}),
    "sizes": (lambda: tried(header(9, "width", 63)), {"sequence"}),
    "checksum": (lambda: tried(raw(9, damaged)), {"sequence"}),
    "fields": (lambda: tried(header(9, "modality", 9)), {"sequence"}),
    "pose": (lambda: tried(header(9, "image_to_reference", SKEWED.ravel())), {"sequence"}),
    "extensions": (lambda: tried(raw(9, lambda parts: _cut_extension(parts))), {"sequence"}),
    "sequence": (lambda: tried(without(10, 11)), set()),
    "waits": (lambda: tried(without(20, 21, 22), held=range(15, 30)), set()),
    "sweeps": (lambda: tried(sent(good()) + [(p, t + 120 * STEP_NS) for p, t in sent(_later(good(60, 1)))]), set()),
    "last": (lambda: tried(changed(59, last=False)), set()),
    "timestamps": (lambda: tried(changed(30, timestamp_ns=FREQUENCIES[29], extras=Extras())), set()),
    "clock": (lambda: tried(every(lambda n, f: {"timestamp_ns": f.timestamp_ns // 1000, "extras": Extras()}), rate=0), set()),
    "rate": (lambda: tried(sent(good()), rate=25.0), set()),
    "imu": (lambda: tried(changed(9, extras=LATER_IMU)), set()),
    "geometry": (lambda: tried(changed(9, geometry=WIDE, **NO_POSE)), set()),
    "spacing": (lambda: tried(every(lambda n, f: {"geometry": METRES, **NO_POSE})), set()),
    "contents": (lambda: tried(every(lambda n, f: {"pixels": np.full((48, 64), n, np.uint8)})), set()),
    "changes": (lambda: tried(every(lambda n, f: {"pixels": good(4, 1)[0].pixels})), set()),
    "range": (lambda: tried(every(lambda n, f: {"sample_range": (0.0, 100.0)})), set()),
    "boot_id": (lambda: tried(every(lambda n, f: {"boot_id": BOOT + n // 60})), set()),
    "reconnect": (lambda: tried(sent(good()), never_back=True), set()),
}


def _cut_extension(parts: list[Any]) -> list[Any]:
    head, extensions = np.frombuffer(bytearray(parts[0]), HEADER).copy(), bytes(parts[1])[:-4]
    head["extension_size"] = len(extensions)
    return list(sealed([head.tobytes(), extensions, parts[2]]))


def _later(frames: list[Frame]) -> list[Frame]:
    """The first sweep once more, after the others."""
    shift = 120 * STEP_NS
    return [msgspec.structs.replace(frame, timestamp_ns=frame.timestamp_ns + shift, extras=Extras()) for frame in frames]


def test_a_good_front_end_keeps_every_rule() -> None:
    found = tried(sent(good(180)), connections=2, cut_at=70, held=range(140, 150))
    assert {name: one.measured for name, one in found.items() if one.outcome != "pass"} == {}
    assert found["rate"].measured.startswith("30 frames/s") and "1 s of the probe's clock" in found["clock"].measured


def test_every_rule_has_a_front_end_that_breaks_it() -> None:
    assert MUTANTS.keys() == RULES.keys()


@pytest.mark.parametrize("rule", RULES)
def test_a_front_end_that_breaks_a_rule_is_caught_by_it_and_by_no_other(rule: str) -> None:
    attempt, beside = MUTANTS[rule]
    found = attempt()
    assert broken(found) == {rule} | beside, {name: one.measured for name, one in found.items() if one.outcome == "fail"}
    assert found[rule].cure and found[rule].measured


@pytest.mark.parametrize(
    "messages", [swapped(), without(60), sent(good())[:30] + sent(good())[29:]], ids=["swapped", "late start", "twice"]
)
def test_steps_back_repeats_and_missing_starts_break_the_sequence(messages: Messages) -> None:
    assert "sequence" in broken(tried(messages))


def test_frames_after_the_last_one_break_the_rule_of_the_last() -> None:
    assert broken(tried(changed(50, last=True))) == {"last"}


def test_what_was_on_its_way_when_we_hung_up_is_no_gap() -> None:
    messages = sent(good())
    found = tried(messages[:30] + messages[40:], connections=2, cut_at=30)
    assert broken(found) == set() and "10 frames were on their way" in found["reconnect"].measured


def test_a_boot_id_drawn_anew_at_each_connection_breaks_the_reconnect() -> None:
    messages = every(lambda n, f: {"boot_id": BOOT + n // 60})
    assert broken(tried(messages, connections=2, cut_at=60)) == {"reconnect"}


def test_a_boot_id_that_is_not_random_is_caught() -> None:
    assert broken(tried(every(lambda n, f: {"boot_id": 1}))) == {"boot_id"}


def test_what_had_waited_for_us_does_not_tell_the_rate() -> None:
    messages, first_ns = [], good()[0].timestamp_ns
    for n, frame in enumerate(good(200)):
        late_ns = max(first_ns + 4_000_000_000 + n * 100_000, frame.timestamp_ns)  # it was held up for 4 s and made up for it
        now = {"timestamp_ns": late_ns, "extras": Extras()}
        messages.append((list(encode_frame(msgspec.structs.replace(frame, **now))), 900_000_000_000 + late_ns))
    found = tried(messages)
    assert broken(found) == set() and found["rate"].measured.startswith("30 frames/s")
    assert tried(messages[:125])["rate"].outcome == "not seen"


def test_a_front_end_without_tracker_or_imu_is_not_blamed_for_it() -> None:
    found = tried(every(lambda n, f: {"extras": Extras(), **NO_POSE}), rate=0)
    assert {name for name, one in found.items() if one.outcome == "not seen"} == {"pose", "extensions", "imu", "rate", "waits", "reconnect"}
    assert broken(found) == set()


def test_the_documentation_lists_the_rules_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
    assert rules_table() in page, "renew it: firmware_bridge.conformance_report.rules_table()"


def test_the_reports_escape_what_the_front_end_sent() -> None:
    about = {"passed": 1, "failed": 1, "frames": 3, "not_seen": 0}
    found = [Result("fields", "fail", "says", "<script>alert(1)</script> a|b", "cure")]
    page, text = as_html(about, found), as_markdown(about, found)
    assert "<script" not in page and "&lt;script&gt;" in page and 'class="fail"' in page
    assert "a/b" in text and "**fail**" in text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(frames(), st.integers(0, 2**62), st.sampled_from(("", "cut", "hold", "raw"))), max_size=12))
def test_whatever_is_sent_there_is_a_verdict(messages: list[tuple[Frame, int, str]]) -> None:
    heard = Heard()
    for frame, received_ns, event in messages:
        if event == "cut":
            heard.cut()
        heard.hold(event == "hold")
        parts = list(encode_frame(frame))
        heard.take([parts[0]] if event == "raw" else parts, received_ns)
    found = judge(heard, Declared(30.0))
    assert [one.rule for one in found] == list(RULES) and all(one.cure for one in found if one.outcome == "fail")


@pytest.fixture
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"ipc://{tmp_path_factory.mktemp('c')}/p.ipc"


def conform(endpoint: str, seconds: float, *words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "edge", "conform", "--endpoint", endpoint, "--seconds", str(seconds), "--json", *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def outcomes(told: dict[str, Any]) -> dict[str, str]:
    return {rule["rule"]: rule["outcome"] for rule in told["rules"]}


def test_the_simulated_probe_conforms_and_comes_back(endpoint: str, tmp_path: Path) -> None:
    sweep, report = tmp_path / "small.igs.mha", tmp_path / "report.html"
    settings = SimulationSettings(frames=40, frames_per_s=40.0, image_size=(64, 60), spacing_mm=(0.4, 0.4))
    write_simulated_sweep(sweep, simulate_sweep(settings))
    probe = subprocess.Popen([sys.executable, "-m", "edge", "probe", str(sweep), "--endpoint", endpoint, "--loop", "--quiet"])
    try:
        code, told = conform(endpoint, 12.0, "--rate", "40", "-o", str(report))
    finally:
        probe.terminate()
        probe.wait()
    assert (code, told["failed"]) == (0, 0), [rule for rule in told["rules"] if rule["outcome"] == "fail"]
    seen = {name for name, outcome in outcomes(told).items() if outcome == "pass"}
    assert seen >= RULES.keys() - {"imu", "extensions"} and told["sweeps"] >= 3
    assert len(re.findall("<tr class", report.read_text())) == len(RULES)


def test_the_c_example_conforms(endpoint: str, send_frames: Path) -> None:  # noqa: F811
    heard, deadline = Heard(), time.monotonic() + 60
    with subprocess.Popen([send_frames, endpoint, "100", "30"]) as sender, zmq.Context() as context:
        door = Door(context, BridgeConfig(endpoint=endpoint), heard, allow_plaintext=False)
        try:
            while heard.frames < 100 and time.monotonic() < deadline:
                door.hear(time.monotonic() + 0.1)
        finally:
            door.close()
    found = {one.rule: one for one in judge(heard, Declared(30.0))}
    assert (sender.returncode, heard.frames) == (0, 100)
    assert broken(found) <= {"clock", "rate"}, found
    for rule, right in (("clock", 1.0), ("rate", 30.0)):  # on a busy machine they may be off by more than the rules allow
        assert float(found[rule].measured.split()[0]) == pytest.approx(right, rel=0.5)
    assert all(found[rule].outcome == "pass" for rule in ("imu", "pose", "last"))


def test_a_front_end_that_does_not_come_back_is_caught(endpoint: str) -> None:
    def send() -> None:
        with FrontEnd(endpoint) as front_end:
            met = False
            for frame in good(1000, 1):
                if met and not front_end.connected:
                    front_end.close(0)
                    return
                met = front_end.connected
                now = {"timestamp_ns": time.monotonic_ns(), "extras": Extras(), "last": False}
                front_end.send(msgspec.structs.replace(frame, **now), patience_s=0.1)
                time.sleep(0.02)

    sender = threading.Thread(target=send)
    sender.start()
    code, told = conform(endpoint, 5.0)
    sender.join()
    assert (code, outcomes(told)["reconnect"]) == (1, "fail"), told["rules"][-1]


def test_a_front_end_that_drops_where_the_socket_is_full_is_caught(endpoint: str) -> None:
    done = threading.Event()

    def send() -> None:
        geometry = Geometry(width=800, height=600, spacing_mm=(0.1, 0.1))
        pixels = np.random.default_rng(0).integers(0, 255, (600, 800), dtype=np.uint8)
        with FrontEnd(endpoint, queue_frames=2) as front_end:
            for n in range(10_000):
                if done.is_set():
                    front_end.close(0)
                    return
                pixels[0, 0] = n % 255
                frame = Frame(boot_id=BOOT, sweep=0, sequence=n, timestamp_ns=time.monotonic_ns(), geometry=geometry, pixels=pixels.copy())
                front_end.send(frame, patience_s=None if n < 5 else 0.0)
                time.sleep(0.03)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        code, told = conform(endpoint, 10.0)
    finally:
        done.set()
        sender.join()
    assert (code, outcomes(told)["waits"], outcomes(told)["reconnect"]) == (1, "fail", "pass"), told["rules"]


def test_nobody_there_is_told_with_the_cure(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--endpoint", endpoint, "--seconds", "0.2"]) == 1
    shown = capsys.readouterr().out
    assert "start the front end while this listens" in shown and "connects: zmq_connect" in shown


def test_a_report_of_an_unknown_kind_is_refused_before_the_listening(
    endpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    monkeypatch.setattr(zmq.Context, "socket", lambda context, kind, *words: opened.append(kind))
    assert main(["conform", "--endpoint", endpoint, "-o", "report.pdf"]) == 1
    assert ".html" in capsys.readouterr().err and not opened
