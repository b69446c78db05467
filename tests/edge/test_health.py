"""The device's own state, from the files that the kernel would show."""

import ctypes
import os
from types import SimpleNamespace

from edge.health import Watch, battery, clock_trusted, storage, temperature


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


def test_the_battery_of_a_keyboard_is_not_the_devices(tmp_path):
    made(tmp_path / "hidpp_battery_0", type="Battery", scope="Device", capacity="2", status="Discharging")
    assert battery(tmp_path) is None
    made(tmp_path / "sbs-battery", type="Battery", scope="System", capacity="90", status="Discharging")
    assert battery(tmp_path) == {"percent": 90, "charging": False}


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


def watched(tmp_path, millidegrees=40_000, percent=80, status="Discharging", cooling=0):
    """The folders that the kernel would show."""
    for folder, files in (
        ("thermal/thermal_zone0", {"temp": millidegrees}),
        ("thermal/cooling_device0", {"type": "pwm-fan", "cur_state": 3}),
        ("thermal/cooling_device1", {"type": "cpu-throttle-alert", "cur_state": cooling}),
        ("power/BAT0", {"type": "Battery", "capacity": percent, "status": status}),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / name).write_text(f"{text}\n")
    return Watch(tmp_path, tmp_path / "power", tmp_path / "thermal")


NOW_S = 1_800_000_000.0


def test_a_device_that_is_well_raises_nothing_and_tells_its_figures(tmp_path):
    watch = watched(tmp_path)
    assert watch.look(0.0, NOW_S, 100.0) == {} and watch.standing == {}
    assert (watch.figures["celsius"], watch.figures["battery_percent"], watch.figures["throttled"]) == (40.0, 80.0, 0.0)
    assert watch.told["temperature"]["level"] == "ok" and watch.told["storage"]["free_mib"] == watch.figures["free_mib"]
    assert watch.images_per_s(30.0) == 30.0


def test_heat_is_named_once_holds_until_it_has_cooled_and_lowers_the_live_images(tmp_path):
    watch = watched(tmp_path, millidegrees=91_000)
    assert watch.look(0.0, NOW_S, 1.0) == {"DEVICE_HOT": "91.0 C"}
    assert watch.images_per_s(30.0) == 10.0 and watch.images_per_s(5.0) == 5.0
    watched(tmp_path, millidegrees=88_500)
    assert watch.look(0.0, NOW_S + 5, 6.0) == {} and "DEVICE_HOT" in watch.standing
    watched(tmp_path, millidegrees=86_000)
    watch.look(0.0, NOW_S + 10, 11.0)
    assert watch.standing == {} and watch.images_per_s(30.0) == 30.0


def test_a_storage_that_is_gone_or_read_only_is_named_and_the_watch_goes_on(tmp_path, monkeypatch):
    watch = watched(tmp_path)
    watch._folder = tmp_path / "gone"
    assert list(watch.look(0.0, NOW_S, 1.0)) == ["STORAGE_FAILED"] and watch.told["storage"] == {"free_mib": 0, "minutes": None}
    watch._folder = tmp_path
    watch.look(0.0, NOW_S + 5, 6.0)
    assert watch.standing == {}
    space = SimpleNamespace(f_flag=os.ST_RDONLY, f_bavail=1, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda folder: space)
    assert "Read-only" in watch.look(0.0, NOW_S + 10, 11.0)["STORAGE_FAILED"]


def test_a_slowed_processor_is_named_and_a_fan_is_not(tmp_path):
    assert watched(tmp_path, cooling=2).look(0.0, NOW_S, 1.0) == {"DEVICE_THROTTLED": "cpu-throttle-alert"}


def test_a_low_battery_is_named_unless_it_charges(tmp_path):
    assert watched(tmp_path, percent=9).look(0.0, NOW_S, 1.0) == {"BATTERY_LOW": "9 %"}
    assert watched(tmp_path, percent=9, status="Charging").look(0.0, NOW_S, 1.0) == {}
    assert watched(tmp_path, percent=3).look(0.0, NOW_S, 1.0) == {"BATTERY_EMPTY": "3 %"}


def test_a_clock_that_cannot_be_right_is_named_and_so_is_its_jump(tmp_path):
    watch = watched(tmp_path)
    assert watch.look(0.0, 86_400.0, 10.0) == {"CLOCK_WRONG": "it shows 1970-01-02"}
    began = watch.look(0.0, NOW_S, 15.0)
    assert list(began) == ["CLOCK_JUMPED"] and watch.standing == {}
    assert watch.look(0.0, NOW_S + 5, 20.0) == {}


def test_where_the_kernel_may_not_be_asked_the_time_services_file_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(adjtimex=lambda _: -1))
    assert not clock_trusted(tmp_path / "synchronized")
    (tmp_path / "synchronized").touch()
    assert clock_trusted(tmp_path / "synchronized")


def test_an_engine_that_is_being_built_is_told_as_long_as_it_is(tmp_path):
    watch = Watch(tmp_path, tmp_path / "power", tmp_path / "thermal", tmp_path / "engine-build")
    assert "ENGINE_BUILDING" not in watch.look(0.0, NOW_S, 1.0)
    (tmp_path / "engine-build").write_text("small fp16, step 7\n")
    assert watch.look(0.0, NOW_S, 2.0)["ENGINE_BUILDING"] == "small fp16, step 7"
    (tmp_path / "engine-build").unlink()
    watch.look(0.0, NOW_S, 3.0)
    assert "ENGINE_BUILDING" not in watch.standing
