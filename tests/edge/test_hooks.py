"""A maker's programs are told what the device is doing; an empty battery ends with a closed recording and the power."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.bus import Publisher, ipc
from edge.commands.update import _told
from edge.device_state import CLOSING_S, LONGEST_CLOSING_S, EmptyBattery, device_state
from edge.health import battery
from edge.hooks import EMPTY, Hooks
from edge.messages import Status
from edge.services import SERVICES, UPDATING

LED = Path(__file__).parents[2] / "systemd/examples/state-led.sh"
QUIET = {"bridge": "idle", "run": "idle", "record": "idle", "tablet": "serving"}


def statuses(standing=(), health=None, clients=0, **does):
    """What the services say; one that is None is silent."""
    told = {name: state for name, state in (QUIET | does).items() if state}
    return {
        name: Status(
            service=name,
            state=state,
            counts={"clients": clients} if name == "tablet" else {},
            standing=dict.fromkeys(standing, "") if name == "tablet" else {},
            health=health or {} if name == "tablet" else {},
        )
        for name, state in told.items()
    }


@pytest.mark.parametrize(
    ("told", "updating", "state", "faults"),
    [
        ({}, False, "idle", ()),
        ({"record": "recording"}, False, "sweeping", ()),
        ({"run": "sweeping"}, False, "sweeping", ()),
        ({"run": "saving"}, False, "saving", ()),
        ({"run": "rebuilding"}, False, "saving", ()),
        ({"standing": ["DISK_NEARLY_FULL"]}, False, "fault", ("DISK_NEARLY_FULL",)),
        ({"standing": ["DISK_NEARLY_FULL"], "record": "recording"}, False, "sweeping", ("DISK_NEARLY_FULL",)),
        ({"run": None}, False, "fault", ("RECONSTRUCTOR_GONE",)),
        ({"standing": ["ENGINE_BUILDING"]}, False, "preparing", ("ENGINE_BUILDING",)),
        ({"standing": ["BATTERY_EMPTY"], "record": "recording"}, False, "battery_empty", ("BATTERY_EMPTY",)),
        ({"record": "recording"}, True, "updating", ()),
    ],
)
def test_the_state_is_the_one_that_matters_most(told, updating, state, faults):
    found = device_state(statuses(**told), updating)
    assert (found.state, found.faults) == (state, faults)


def test_before_anybody_was_heard_it_starts_and_nobody_is_missed():
    assert (device_state({}, False, SERVICES).state, device_state({}, False, SERVICES).faults) == ("starting", ())
    found = device_state(statuses(run=None), False, ["run"])
    assert (found.state, found.faults) == ("starting", ())
    found = device_state(statuses(["ENGINE_BUILDING"], run=None), False)
    assert (found.state, found.faults) == ("preparing", ("ENGINE_BUILDING",))
    assert device_state({}, False).faults == tuple(sorted(service.gone for service in SERVICES.values()))


def test_figures_come_from_the_gateway_and_small_changes_of_the_battery_are_no_news():
    found = device_state(statuses(health={"battery_percent": 57.0, "charging": 1.0, "free_mib": 2048.0}, clients=2), False)
    assert (found.battery_percent, found.charging, found.tablets, found.free_mib) == (57, True, 2, 2048)
    assert device_state(statuses(health={"battery_percent": 52.0, "charging": 1.0}), False).key == found.key
    assert device_state(statuses(health={"battery_percent": 49.0, "charging": 1.0}), False).key != found.key
    assert device_state(statuses(), False).battery_percent is None


def test_an_empty_battery_waits_for_what_is_written_but_not_for_ever():
    empty, idle = EmptyBattery(), statuses(["BATTERY_EMPTY"])
    assert not empty.off(idle, 0.0) and not empty.off(idle, CLOSING_S - 1) and empty.off(idle, CLOSING_S)
    for busy in ({"record": "recording"}, {"run": "saving"}):
        empty, writes = EmptyBattery(), statuses(["BATTERY_EMPTY"], **busy)
        assert not empty.off(writes, 0.0) and not empty.off(writes, LONGEST_CLOSING_S - 1) and empty.off(writes, LONGEST_CLOSING_S)
    empty.off(statuses(), 100.0)
    assert not empty.off(idle, 101.0), "the charger came in between"
    assert not EmptyBattery().off({}, 1e9), "a gateway that is silent says nothing of the battery"


def test_a_battery_that_a_charger_holds_is_not_empty(tmp_path):
    for name, told in (("AC", {"type": "Mains", "online": "1"}), ("BAT0", {"type": "Battery", "capacity": "2", "status": "Not charging"})):
        (tmp_path / name).mkdir()
        for key, text in told.items():
            (tmp_path / name / key).write_text(text)
    assert battery(tmp_path) == {"percent": 2, "charging": True}
    (tmp_path / "AC/online").write_text("0")
    assert battery(tmp_path) == {"percent": 2, "charging": False}


class Device:
    """Services that say what they are told to, and the hooks beside them."""

    def __init__(self, context, run_dir, tmp_path):
        self.folder, self.said, self.file = tmp_path / "state.d", tmp_path / "said", tmp_path / "state.json"
        self.folder.mkdir()
        self.run_dir = run_dir
        self.publishers = {name: Publisher(context, ipc(run_dir, name)) for name in SERVICES}
        self.told = statuses()
        self.hooks = None

    def hook(self, name, text, mode=0o755):
        (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.folder / name).chmod(mode)

    def start(self, context):
        self.hooks = Hooks(context, self.run_dir, self.folder, self.file)

    def lines(self):
        return self.said.read_text().splitlines() if self.said.exists() else []

    def until(self, done, timeout_s=20.0):
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, (self.hooks.state, self.lines())
            for name, status in self.told.items():
                self.publishers[name].say(status)
            self.hooks.step()

    def close(self):
        self.hooks.close()
        for publisher in self.publishers.values():
            publisher.close()


@pytest.fixture
def device(context, run_dir, tmp_path):
    made = Device(context, run_dir, tmp_path)
    yield made
    made.close()


def test_programs_hear_of_each_state_in_the_order_of_their_names(device, context, capfd):
    for name in ("20-b", "10-a.sh"):
        device.hook(name, f'echo "{name} $*" >> {device.said}; cat >> {device.said}')
    for name, mode in (("30-off", 0o644), ("40-a.bak", 0o755), ("50-a~", 0o755)):
        device.hook(name, f"echo {name} >> {device.said}", mode)
    device.start(context)
    device.until(lambda: "20-b idle" in device.lines())
    assert [line for line in device.lines() if not line.startswith("{")][-2:] == ["10-a.sh idle", "20-b idle"]
    assert json.loads(device.file.read_text())["state"] == "idle" and device.file.stat().st_mode & 0o777 == 0o644
    device.told = statuses(["DISK_FULL", "BATTERY_LOW"], record="recording")
    device.until(lambda: device.lines()[-2:][:1] == ["20-b sweeping BATTERY_LOW DISK_FULL"])
    assert json.loads(device.lines()[-1]) == json.loads(device.file.read_text())
    assert not any("off" in line or "bak" in line for line in device.lines())


def test_a_program_that_hangs_fails_or_cannot_be_run_is_said_and_keeps_nobody_back(device, context, capfd, monkeypatch):
    begin = Hooks._begin

    def begin_with_patience(self, hook, now):  # a good one may be slow on a busy machine
        monkeypatch.setattr("edge.hooks.LONGEST_HOOK_S", 0.4 if hook.name == "10-hangs" else 20.0)
        return begin(self, hook, now)

    monkeypatch.setattr(Hooks, "_begin", begin_with_patience)
    device.hook("10-hangs", "exec sleep 60")
    device.hook("20-fails", "exec 0<&-; exit 3")
    (device.folder / "30-foreign").write_bytes(b"\x7fELF not")
    (device.folder / "30-foreign").chmod(0o755)
    device.hook("40-good", f'echo "$1" >> {device.said}')
    device.start(context)
    device.until(lambda: "idle" in device.lines())
    said = capfd.readouterr().err
    assert "10-hangs" in said and "was ended" in said and "ended with 3" in said and "30-foreign: Exec format error" in said


def test_the_end_of_an_empty_battery_is_left_for_the_unit_that_may_switch_off(device, context, run_dir, monkeypatch):
    monkeypatch.setattr("edge.device_state.CLOSING_S", 0.6)
    device.start(context)
    device.until(lambda: device.hooks.state.state == "idle")  # all of them are heard
    device.told = statuses(["BATTERY_EMPTY"], record="recording")
    device.until(lambda: device.hooks.state.state == "battery_empty")
    began = time.monotonic()
    device.until(lambda: time.monotonic() > began + 1.5)
    assert not (run_dir / EMPTY).exists(), "the recording is still open"
    device.told = statuses(["BATTERY_EMPTY"])
    device.until((run_dir / EMPTY).exists)
    assert device.hooks.state.state == "battery_empty"


@pytest.mark.parametrize(
    ("state", "green", "red", "trigger"), [("idle", "1", "0", "none"), ("sweeping", "", "0", "timer"), ("fault", "0", "1", "none")]
)
def test_the_example_lights_a_led(tmp_path, state, green, red, trigger):
    for name in ("green", "red"):
        (tmp_path / f"sonosweep:{name}").mkdir()
        for file in ("brightness", "trigger"):
            (tmp_path / f"sonosweep:{name}" / file).touch()
    subprocess.run([str(LED), state, "DISK_FULL"], env={"LEDS": str(tmp_path)}, check=True)
    lit = [(tmp_path / f"sonosweep:{name}").read_text().strip() for name in ("green/trigger", "green/brightness", "red/brightness")]
    assert lit == [trigger, green, red]


def test_an_update_is_seen_while_it_lasts(run_dir):
    with _told(run_dir, False):
        assert (run_dir / UPDATING).exists()
    assert not (run_dir / UPDATING).exists()
    with _told(run_dir, True):
        assert not (run_dir / UPDATING).exists()


def test_the_service_runs_without_a_folder_of_hooks_and_ends_at_sigterm(run_dir, tmp_path):
    state = tmp_path / "state.json"
    command = [sys.executable, "-m", "edge", "hooks", "--run-dir", str(run_dir), "--hooks", str(tmp_path / "none"), "--state", str(state)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as service:
        deadline = time.monotonic() + 20
        while not state.exists():
            assert time.monotonic() < deadline and service.poll() is None
            time.sleep(0.05)
        assert json.loads(state.read_text())["state"] == "starting"
        time.sleep(0.3)
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=20)
    assert service.returncode == 0 and os.listdir(run_dir).count(EMPTY) == 0
