"""How the device itself is: storage, battery, temperature, clock. Read from the kernel's own files, without rights or libraries."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

WARM_C, HOT_C = 75.0, 90.0  # Jetson modules slow down from 97 to 99 C on
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
SYNCHRONISED = Path("/run/systemd/timesync/synchronized")  # of this boot; an OEM with another time service makes it
TIMEX_BYTES = 512  # more than struct timex has on any machine


def storage(folder: Path, bytes_per_s: float) -> dict[str, Any]:
    """Free space of ``folder``'s disk in MiB, and for how many minutes of recording it is enough (null where the rate is not known)."""
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    return {"free_mib": free >> 20, "minutes": round(free / bytes_per_s / 60) if bytes_per_s > 0 else None}


def battery(root: Path = Path("/sys/class/power_supply")) -> dict[str, Any] | None:
    """Charge of the first battery in percent; None where the device has none."""
    for supply in sorted(root.glob("*")):
        if _text(supply / "type") == "Battery" and (percent := _text(supply / "capacity")).isdigit():
            return {"percent": int(percent), "charging": _text(supply / "status") in ("Charging", "Full")}
    return None


def temperature(root: Path = Path("/sys/class/thermal")) -> dict[str, Any] | None:
    """The hottest zone in degrees Celsius; None where none is told."""
    told = [_text(zone / "temp") for zone in root.glob("thermal_zone*")]
    celsius = [int(text) / 1000 for text in told if text.lstrip("-").isdigit()]
    if not celsius:
        return None
    hottest = max(celsius)
    return {"celsius": round(hottest, 1), "level": "hot" if hottest >= HOT_C else "warm" if hottest >= WARM_C else "ok"}


def clock_trusted(synchronised: Path = SYNCHRONISED) -> bool:
    """The clock is synchronised. A device without internet or a good clock module cannot know the date.

    The kernel is asked; where the service's sandbox (ProtectClock=) forbids the question, systemd's time service has left a file.
    """
    state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))
    return state < TIME_ERROR if state >= 0 else synchronised.exists()


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
