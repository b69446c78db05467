"""How the device itself is: storage, battery, temperature, clock. Read from the kernel's own files, without rights or libraries.

:class:`Watch` makes faults of it that begin and end; everything else is a single look.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

WARM_C, HOT_C = 75.0, 90.0  # Jetson modules slow down from 97 to 99 C on
COOLED_C = 3.0  # below which a fault of heat ends
HOT_IMAGES_PER_S = 10.0
LOW_PERCENT, EMPTY_PERCENT = 10, 4
EARLIEST_S = 1_767_225_600  # 2026: no clock that is right shows less
JUMP_S = 60.0
SLOWS = ("throttle", "cpufreq", "devfreq", "processor")  # cooling devices that slow something down; fans do not
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
SYNCHRONISED = Path("/run/systemd/timesync/synchronized")  # of this boot; an OEM with another time service makes it
TIMEX_BYTES = 512  # more than struct timex has on any machine


def free_mib(folder: Path) -> int:
    """Free space of ``folder``'s disk. ``OSError`` where it cannot be asked, or takes nothing any more (read-only)."""
    space = os.statvfs(folder)
    if space.f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    return space.f_bavail * space.f_frsize >> 20


def storage(folder: Path, bytes_per_s: float) -> dict[str, Any]:
    """Free space of ``folder``'s disk in MiB, and for how many minutes of recording it is enough (null where the rate is not known)."""
    free = free_mib(folder)
    return {"free_mib": free, "minutes": round((free << 20) / bytes_per_s / 60) if bytes_per_s > 0 else None}


def battery(root: Path = Path("/sys/class/power_supply")) -> dict[str, Any] | None:
    """Charge of the device's first battery in percent; None where it has none. One that is held as it is by a charger counts as charging.

    A keyboard's battery (scope Device) is not the device's."""
    supplies = [supply for supply in sorted(root.glob("*")) if _text(supply / "scope") != "Device"]
    held = any(_text(supply / "online") == "1" for supply in supplies if _text(supply / "type") != "Battery")
    for supply in supplies:
        if _text(supply / "type") == "Battery" and (percent := _text(supply / "capacity")).isdigit():
            status = _text(supply / "status")
            return {"percent": int(percent), "charging": status in ("Charging", "Full") or (held and status == "Not charging")}
    return None


def temperature(root: Path = Path("/sys/class/thermal")) -> dict[str, Any] | None:
    """The hottest zone in degrees Celsius; None where none is told."""
    told = [_text(zone / "temp") for zone in root.glob("thermal_zone*")]
    celsius = [int(text) / 1000 for text in told if text.lstrip("-").isdigit()]
    if not celsius:
        return None
    hottest = max(celsius)
    return {"celsius": round(hottest, 1), "level": "hot" if hottest >= HOT_C else "warm" if hottest >= WARM_C else "ok"}


def throttled(root: Path = Path("/sys/class/thermal")) -> list[str]:
    """The cooling devices by which the kernel slows a processor down at the moment."""
    active = [
        kind
        for device in root.glob("cooling_device*")
        if any(word in (kind := _text(device / "type")).lower() for word in SLOWS) and _text(device / "cur_state") not in ("", "0", "-1")
    ]
    return sorted(set(active))


def clock_trusted(synchronised: Path = SYNCHRONISED) -> bool:
    """The clock is synchronised. A device without internet or a good clock module cannot know the date.

    The kernel is asked; where the service's sandbox (ProtectClock=) forbids the question, systemd's time service has left a file.
    """
    state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))
    return state < TIME_ERROR if state >= 0 else synchronised.exists()


def now_utc() -> str:
    """The date as it is written into recordings, exams and logs, beside the trust in the clock."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Watch:
    """Looks at the device every few seconds: ``told`` for tablets, ``standing`` the faults that hold, ``figures`` for the status."""

    def __init__(
        self,
        folder: Path,
        power: Path = Path("/sys/class/power_supply"),
        thermal: Path = Path("/sys/class/thermal"),
        building: Path | None = None,
    ) -> None:
        """``building``: the file that says how far the build of an engine is, while one is built."""
        self._folder, self._power, self._thermal, self._building = folder, power, thermal, building
        self._ahead_s: float | None = None  # of the wall clock before the one that is never set
        self.jump: tuple[float, float] | None = None  # seen in the last look: the wall clock before it, and by how much it moved (s)
        self.told: dict[str, Any] = {}
        self.standing: dict[str, str] = {}
        self.figures: dict[str, float] = {}

    def look(self, bytes_per_s: float, wall_s: float | None = None, running_s: float | None = None) -> dict[str, str]:
        """Look; answers the faults that began since the last look, with their detail."""
        wall_s = time.time() if wall_s is None else wall_s
        running_s = time.clock_gettime(time.CLOCK_BOOTTIME) if running_s is None else running_s
        heat, charge, slowed = temperature(self._thermal), battery(self._power), throttled(self._thermal)
        standing: dict[str, str] = {}
        try:
            space = storage(self._folder, bytes_per_s)
        except OSError as wrong:
            space = {"free_mib": 0, "minutes": None}
            standing["STORAGE_FAILED"] = f"{self._folder}: {wrong.strerror}"
        self.told = {"storage": space, "battery": charge, "temperature": heat}
        trusted = clock_trusted()
        self.figures = {"free_mib": self.told["storage"]["free_mib"], "clock_trusted": float(trusted), "throttled": float(bool(slowed))}
        self.figures |= {"celsius": heat["celsius"]} if heat else {}
        self.figures |= {"battery_percent": charge["percent"], "charging": float(charge["charging"])} if charge else {}
        if heat and heat["celsius"] >= (HOT_C - COOLED_C if "DEVICE_HOT" in self.standing else HOT_C):
            standing["DEVICE_HOT"] = f"{heat['celsius']} C"
        if slowed:
            standing["DEVICE_THROTTLED"] = ", ".join(slowed)
        if charge and charge["percent"] < LOW_PERCENT and not charge["charging"]:
            standing["BATTERY_EMPTY" if charge["percent"] < EMPTY_PERCENT else "BATTERY_LOW"] = f"{charge['percent']} %"
        if self._building and (how_far := _text(self._building)):
            standing["ENGINE_BUILDING"] = how_far
        if wall_s < EARLIEST_S:
            standing["CLOCK_WRONG"] = time.strftime("it shows %Y-%m-%d", time.gmtime(wall_s))
        began = {name: detail for name, detail in standing.items() if name not in self.standing}
        self.standing = standing
        self.jump = None
        if self._ahead_s is not None and abs(jump := wall_s - running_s - self._ahead_s) > JUMP_S:
            began["CLOCK_JUMPED"] = f"by {jump:+.0f} s"
            self.jump = wall_s - jump, jump
        self._ahead_s = wall_s - running_s
        return began

    def images_per_s(self, usual: float) -> float:
        """Live images for each tablet: fewer while the device is hot."""
        return min(usual, HOT_IMAGES_PER_S) if {"DEVICE_HOT", "DEVICE_THROTTLED"} & self.standing.keys() else usual


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
