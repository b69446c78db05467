"""What `status` and `top` say of a device, from services that are publishers and nothing else."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest

from edge.app import main
from edge.bus import Publisher, ipc
from edge.faults import FAULTS
from edge.messages import FaultRaised, Status
from edge.overview import TELLING, NoDevice, Overview
from edge.services import SERVICES

PERIOD_S = 0.05


class Device:
    """Services that say a status often. ``say`` holds what each says; a service without an entry is silent."""

    def __init__(self, context, run_dir):
        self.publishers = {name: Publisher(context, ipc(run_dir, name)) for name in SERVICES}
        self.status = {name: Status(service=name, state="idle", counts={}, health={"memory_mib": 40.0}) for name in SERVICES}
        self.faults, self.frames, self.done = [], 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.done:
            self.frames += 3
            for name, status in list(self.status.items()):
                counts = status.counts | ({TELLING[name].frames: self.frames} if TELLING[name].frames else {})
                self.publishers[name].say(Status(**{f: getattr(status, f) for f in Status.__struct_fields__} | {"counts": counts}))
            while self.faults:
                fault = self.faults.pop()
                self.publishers[fault.service].say(fault)
            time.sleep(PERIOD_S)

    def close(self):
        self.done = True
        self.thread.join()
        for publisher in self.publishers.values():
            publisher.close()


@pytest.fixture
def device(context, run_dir):
    made = Device(context, run_dir)
    yield made
    made.close()


def status(run_dir, capsys, *words):
    code = main(["status", "--run-dir", str(run_dir), "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_every_service_of_the_table_has_a_row():
    assert TELLING.keys() == SERVICES.keys()


def test_a_device_that_is_well_says_so_with_exit_status_0(device, run_dir, capsys):
    code, told = status(run_dir, capsys)
    assert (code, told["well"], told["wrong"]) == (0, True, [])
    assert [row["service"] for row in told["services"]] == list(SERVICES)
    run = told["services"][1]
    assert run["memory_mib"] == 40.0
    assert 0.3 * 3 / PERIOD_S < run["frames_per_s"] < 1.3 * 3 / PERIOD_S


def test_a_silent_service_is_named_with_words_and_cure(device, run_dir, capsys):
    del device.status["record"]
    code, told = status(run_dir, capsys)
    assert code == 1
    (wrong,) = told["wrong"]
    assert (wrong["service"], wrong["name"]) == ("record", "RECORDER_GONE") and "journalctl -u sonosweep-record" in wrong["detail"]
    assert told["services"][2]["state"] == "silent"


def test_a_fault_that_stands_is_told_with_the_operators_words(device, run_dir, capsys):
    device.status["record"] = Status(service="record", state="idle", counts={}, standing={"DISK_FULL": "3 MiB are free"})
    code, told = status(run_dir, capsys)
    assert code == 1
    assert told["wrong"] == [{"service": "record", "name": "DISK_FULL", "words": FAULTS["DISK_FULL"].operator, "detail": "3 MiB are free"}]
    assert main(["status", "--run-dir", str(run_dir)]) == 1
    assert FAULTS["DISK_FULL"].operator in capsys.readouterr().out


def test_a_fault_of_long_ago_is_counted_and_does_not_stand(device, run_dir, capsys):
    device.status["run"] = Status(service="run", state="idle", counts={}, faults={"FRAMES_BRIDGED": 4})
    code, told = status(run_dir, capsys)
    assert code == 0 and told["services"][1]["faults"] == {"FRAMES_BRIDGED": 4}


def test_a_fault_that_is_raised_while_we_listen_stands(device, context, run_dir):
    overview = Overview(context, run_dir)
    try:
        overview.hear(0.5)
        device.faults.append(FaultRaised(service="run", name="FRAMES_LOST", detail="9 before frame 20"))
        overview.hear(0.5)
        assert [wrong["name"] for wrong in overview.wrong()] == ["FRAMES_LOST"]
        assert overview.wrong(within_s=0.0) == []
    finally:
        overview.close()


def test_the_devices_own_figures_are_a_line(device, run_dir, capsys):
    health = {"memory_mib": 1.0, "celsius": 71.0, "free_mib": 2048.0, "battery_percent": 80.0, "charging": 0.0, "clock_trusted": 0.0}
    device.status["tablet"] = Status(service="tablet", state="serving", counts={}, health=health)
    assert main(["status", "--run-dir", str(run_dir)]) == 0
    assert "71 C; 2.0 GiB free; battery 80 %; clock never synchronised" in capsys.readouterr().out


def test_nothing_there_is_a_sentence_with_the_cure(tmp_path, capsys):
    assert main(["status", "--run-dir", str(tmp_path / "none")]) == 1
    assert "systemctl start sonosweep.target" in capsys.readouterr().err
    assert not (tmp_path / "none").exists(), "to look must not make anything"
    with pytest.raises(NoDevice):
        Overview(None, tmp_path / "none")


def test_top_at_a_terminal_draws_over_itself_until_ctrl_c(device, run_dir):
    screen, terminal = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "edge", "top", "--run-dir", str(run_dir), "--every", "0.3"], stdout=terminal) as top:
        shown = b""
        while shown.count(b"all well") < 2:
            shown += os.read(screen, 4096)
        top.send_signal(signal.SIGINT)
        assert top.wait(10) == 0
    os.close(terminal)
    os.close(screen)
    assert shown.count(b"\033[H\033[J") >= 2


def test_top_writes_one_table_after_the_other_where_there_is_no_terminal(device, run_dir, capsys):
    assert main(["top", "--run-dir", str(run_dir), "--every", "0.4", "--times", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("service") == 2 and "\033" not in shown and shown.count("received_to_published") == 0
    assert shown.count("bridge") == 2
