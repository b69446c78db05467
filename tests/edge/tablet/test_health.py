"""The device's own state, from the files that the kernel would show."""

import ctypes
from types import SimpleNamespace

from edge.tablet.health import battery, clock_trusted, storage, temperature


def made(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def test_the_battery_is_found_among_other_supplies(tmp_path):
    assert battery(tmp_path) is None
    made(tmp_path / "AC", type="Mains", online="1")
    assert battery(tmp_path) is None
    made(tmp_path / "BAT0", type="Battery", capacity="81", status="Discharging")
    assert battery(tmp_path) == {"percent": 81, "charging": False}


def test_the_hottest_zone_counts(tmp_path):
    assert temperature(tmp_path) is None
    for number, (millidegrees, level) in enumerate([(40_000, "ok"), (76_000, "warm"), (90_000, "hot")]):
        made(tmp_path / f"thermal_zone{number}", temp=millidegrees)
        assert temperature(tmp_path) == {"celsius": millidegrees / 1000, "level": level}


def test_a_zone_that_cannot_be_read_is_left_out(tmp_path):
    made(tmp_path / "thermal_zone0", type="cpu")
    assert temperature(tmp_path) is None


def test_storage_says_how_long_it_lasts(tmp_path):
    told = storage(tmp_path, 1e6)
    assert told["minutes"] == round(told["free_mib"] * 2**20 / 1e6 / 60) or abs(told["minutes"] - told["free_mib"] * 2**20 / 6e7) <= 1
    assert storage(tmp_path, 0)["minutes"] is None


def test_the_clock_answers():
    assert clock_trusted() in (True, False)


def test_where_the_kernel_may_not_be_asked_the_time_services_file_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(adjtimex=lambda _: -1))
    assert not clock_trusted(tmp_path / "synchronized")
    (tmp_path / "synchronized").touch()
    assert clock_trusted(tmp_path / "synchronized")
