"""A device without a network's time: who set its date, who may, and what a request that is wrong comes to."""

import asyncio
import json
import os
import threading
import time
from types import SimpleNamespace

import msgspec
import pytest

import edge.clock as clock
import edge.tablet.commands as commands
from edge.app import main
from edge.clock import ClockRequest, ClockState, ask, clock_source, obey, read_state
from edge.config import FeaturesConfig
from edge.health import Watch
from edge.tablet.pairing import Tablets
from edge.tablet.wire import Request

TODAY_S = 1_796_000_000.0  # in November 2026


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """The folder of the service that sets the clock, on a device without a network's time."""
    monkeypatch.setattr(clock, "STATE", tmp_path / "clock" / "state.json")
    synchronised(monkeypatch, False)
    return clock.STATE


def synchronised(monkeypatch, yes):
    for module in (clock, commands):
        monkeypatch.setattr(module, "clock_trusted", lambda: yes)


def obeyed(run_dir):
    """The request is obeyed; the state, and the dates that were set."""
    dates = []
    return obey(run_dir, set_time=dates.append), dates


def test_a_tablet_sets_the_clock_and_is_its_source(tmp_path, monkeypatch, capsys):
    assert clock_source() == ""
    number = ask(tmp_path, TODAY_S, "iPad 1")
    time.sleep(0.05)
    told, (date_s,) = obeyed(tmp_path)
    assert told == read_state() == ClockState(number, "tablet iPad 1")
    assert 0.05 <= date_s - TODAY_S < 5, "the time on the way counts"
    assert clock_source() == "tablet iPad 1" and "by tablet iPad 1" in capsys.readouterr().err
    assert clock.STATE.stat().st_mode & 0o777 == 0o644, "other services read it"
    synchronised(monkeypatch, True)
    assert clock_source() == "network", "which is better"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"unix_s": 0.0}, "no date of today"),
        ({"unix_s": 9e9}, "no date of today"),
        ({"unix_s": float("nan")}, "no date of today|no request"),
        ({"monotonic_s": -100.0}, "ask again"),
        ({"monotonic_s": 1e12}, "ask again"),
        ({"tablet": ""}, "does not say who"),
        ({"tablet": "a\nb"}, "does not say who"),
        ({"number": "../x"}, "does not say who"),
    ],
)
def test_what_cannot_be_right_sets_nothing_and_says_why(tmp_path, changed, said):
    good = ClockRequest("0123456789abcdef", TODAY_S, time.monotonic(), "iPad 1")
    (tmp_path / clock.REQUEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(good, **changed)))
    told, dates = obeyed(tmp_path)
    assert dates == [] and told.source == ""
    assert any(part in told.error for part in said.split("|")), told.error


@pytest.mark.parametrize("made", ["nothing", "folder", "link", "pipe", "text"])
def test_what_is_no_request_sets_nothing(tmp_path, made):
    path = tmp_path / clock.REQUEST
    if made == "folder":
        path.mkdir()
    elif made == "link":
        (tmp_path / "other").write_bytes(msgspec.json.encode(ClockRequest("0123456789abcdef", TODAY_S, time.monotonic(), "x")))
        path.symlink_to(tmp_path / "other")
    elif made == "pipe":
        os.mkfifo(path)
    elif made == "text":
        path.write_text("{}")
    told, dates = obeyed(tmp_path)
    assert dates == [] and told.error and told.source == ""


def test_a_network_s_clock_is_never_changed_and_a_refused_one_keeps_its_source(tmp_path, monkeypatch):
    ask(tmp_path, TODAY_S, "iPad 1")
    obeyed(tmp_path)
    synchronised(monkeypatch, True)
    ask(tmp_path, TODAY_S, "iPad 2")
    told, dates = obeyed(tmp_path)
    assert dates == [] and "set by the network" in told.error and told.source == "tablet iPad 1"


def test_a_machine_that_refuses_is_said(tmp_path):
    def refuse(unix_s):
        raise PermissionError(1, "Operation not permitted")

    ask(tmp_path, TODAY_S, "iPad 1")
    told = obey(tmp_path, set_time=refuse)
    assert "not permitted" in told.error and told.source == ""


def answered(tmp_path, milliseconds=1e3 * TODAY_S, service=True):
    """What the gateway answers; beside it the service's unit, as systemd would start it."""
    looked = []
    client = SimpleNamespace(name="iPad 1", allowance=SimpleNamespace(take=lambda: True))
    gateway = SimpleNamespace(
        run_dir=tmp_path,
        features=FeaturesConfig(),
        lease=SimpleNamespace(holder=client),
        note=lambda *told: looked.append(told),
        look_again=lambda: looked.append("look"),
    )
    stop = threading.Event()

    def unit():
        while not stop.wait(0.02):
            if (tmp_path / clock.REQUEST).exists() and not clock.STATE.exists():
                obey(tmp_path, set_time=lambda unix_s: None)

    watching = threading.Thread(target=unit)
    if service:
        watching.start()
    try:
        return asyncio.run(commands.obey(gateway, client, Request(7, "set_clock", t=milliseconds))), looked
    finally:
        stop.set()
        if service:
            watching.join()


def test_the_operator_s_tablet_asks_and_is_answered(tmp_path):
    told, looked = answered(tmp_path)
    assert (told["ok"], told["source"]) == (True, "tablet iPad 1")
    assert looked == ["look", ("set_clock", "iPad 1", " done")], "and it is in the audit log"


def test_a_clock_that_is_not_set_is_refused_by_name(tmp_path, monkeypatch):
    told, _ = answered(tmp_path, milliseconds=0.0)
    assert (told["error"], "no date of today" in told["detail"]) == ("CLOCK_NOT_SET", True)
    clock.STATE.unlink()
    monkeypatch.setattr(commands, "CLOCK_ANSWERS_S", 0.1)
    told, _ = answered(tmp_path, service=False)
    assert (told["error"], "does not answer" in told["detail"]) == ("CLOCK_NOT_SET", True)
    synchronised(monkeypatch, True)
    assert answered(tmp_path, service=False)[0]["error"] == "CLOCK_FROM_NETWORK"


def test_tablets_stay_paired_when_the_clock_moves_by_decades(tmp_path, monkeypatch):
    now = 86_400.0  # a day after 1970: the device's clock was never set
    monkeypatch.setattr("edge.tablet.pairing.time.time", lambda: now)
    tablets = Tablets(tmp_path)
    old = tablets.add("one", "operator", secure=True)
    later = TODAY_S
    for one in tablets.all():
        assert one.seen == now
    tablets.clock_moved(now + 10, later - now)
    now = later + 60
    assert tablets.find(old).name == "one"
    tablets.clock_moved(100.0, 1e9)
    assert tablets.find(old).name == "one", "what a later clock has written stays"


def test_a_jump_says_from_where_it_was(tmp_path):
    watch = Watch(tmp_path, tmp_path, tmp_path)
    watch.look(0.0, 1000.0, 50.0)
    assert watch.jump is None
    assert "CLOCK_JUMPED" in watch.look(0.0, TODAY_S, 55.0)
    assert watch.jump == (1005.0, TODAY_S - 1005.0)
    watch.look(0.0, TODAY_S + 5, 60.0)
    assert watch.jump is None


def test_the_command_says_where_the_date_is_from(tmp_path, capsys):
    assert main(["clock", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) | {"now": ""} == {"now": "", "trusted": False, "source": ""}
    ask(tmp_path, TODAY_S, "iPad 1")
    obeyed(tmp_path)
    assert main(["clock"]) == 0 and "set by tablet iPad 1" in capsys.readouterr().out
    (tmp_path / clock.REQUEST).unlink()
    assert main(["clock", "obey", "--run-dir", str(tmp_path)]) == 1
