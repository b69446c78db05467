"""Where the device's date comes from, and how a tablet sets it where no network does.

The services may not set a clock. The gateway leaves a request in the run directory; ``sonosweep-clock.path`` sees it and starts
``sonosweep-clock.service``, which holds the one right that this needs, judges the request, and says what became of it in a folder that
only it writes. Sweeps are timed by the clock that is never set (CLOCK_MONOTONIC): nothing that is under way is touched.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from edge.atomic import replacing
from edge.console import say
from edge.errors import SonosweepError
from edge.health import EARLIEST_S, clock_trusted, now_utc

REQUEST = "clock-request.json"  # in the run directory
STATE = Path("/run/sonosweep-clock/state.json")
LATEST_S = 4_102_444_800  # 2100
OLDEST_REQUEST_S = 30.0
LARGEST_REQUEST = 4096
LONGEST_NAME = 60
RTC = Path("/dev/rtc")
RTC_SET_TIME = 0x4024700A  # rtc(4), of a struct rtc_time: nine ints


class ClockRefused(SonosweepError):
    """The clock is not set; the message says why."""


class ClockRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``unix_s`` is the tablet's time at ``monotonic_s``."""

    number: str
    unix_s: float
    monotonic_s: float
    tablet: str


class ClockState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of request ``number``. ``source``: who set the clock since the device was switched on; empty where nobody did."""

    number: str = ""
    source: str = ""
    error: str = ""


def clock_source(state: Path | None = None) -> str:
    """Where the date is from: ``network`` (or another time service), ``tablet NAME``, or empty: nobody has set it."""
    return "network" if clock_trusted() else read_state(state).source


def told(state: Path | None = None) -> dict[str, Any]:
    """The clock as tablets are told of it."""
    return {"now": now_utc(), "trusted": clock_trusted(), "source": clock_source(state)}


def read_state(state: Path | None = None) -> ClockState:
    """The last word of the service that sets the clock."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((state or STATE).read_bytes(), type=ClockState)
    return ClockState()


def ask(run_dir: Path, unix_s: float, tablet: str) -> str:
    """Leave a request; answers its number, under which the state will tell what became of it. ``OSError``."""
    request = ClockRequest(os.urandom(8).hex(), unix_s, time.monotonic(), re.sub(r"[^ -~]", "?", tablet)[:LONGEST_NAME])
    with replacing(run_dir / REQUEST) as out:
        out.write(msgspec.json.encode(request))
    return request.number


def obey(run_dir: Path, state: Path | None = None, set_time: Callable[[float], None] | None = None) -> ClockState:
    """Carry out the request that lies in the run directory; the state that is left. Never more than one clock is set."""
    before = read_state(state)
    number = ""
    try:
        request = _read(run_dir / REQUEST)
        number = request.number
        now_s = request.unix_s + _judged_age_s(request)
        (set_time or _set_time)(now_s)
        after = ClockState(number, f"tablet {request.tablet}")
        say(f"clock: set to {now_utc()} by tablet {request.tablet}")
    except (ClockRefused, OSError) as wrong:
        after = ClockState(number, before.source, str(wrong))
        say(f"clock: not set: {wrong}", "warning")
    with replacing(state or STATE) as out:
        out.write(msgspec.json.encode(after))
    (state or STATE).chmod(0o644)
    return after


def _read(path: Path) -> ClockRequest:
    """The folder is the services' own: what lies there is looked at with suspicion."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise ClockRefused(f"{path} is no file")
        text = os.read(opened, LARGEST_REQUEST)
    finally:
        os.close(opened)
    try:
        return msgspec.json.decode(text, type=ClockRequest)
    except msgspec.MsgspecError as wrong:
        raise ClockRefused(f"{path} is no request: {wrong}") from wrong


def _judged_age_s(request: ClockRequest) -> float:
    """How long ago the request was made. ``ClockRefused`` where it must not be followed."""
    age_s = time.monotonic() - request.monotonic_s
    if not 0 <= age_s <= OLDEST_REQUEST_S:
        raise ClockRefused(f"the request is {age_s:.0f} s old; ask again")
    if not EARLIEST_S <= request.unix_s <= LATEST_S:
        raise ClockRefused(f"{request.unix_s:.0f} s since 1970 is no date of today; set the tablet's own clock first")
    if not re.fullmatch(rf"[ -~]{{1,{LONGEST_NAME}}}", request.tablet) or not re.fullmatch(r"[0-9a-f]{16}", request.number):
        raise ClockRefused("the request does not say who asks; ask again")
    if clock_trusted():
        raise ClockRefused("the clock is set by the network; that one is not changed")
    return age_s


def _set_time(unix_s: float) -> None:
    """The system's clock, and the clock module's (in UTC), so that it lasts where that has a battery."""
    time.clock_settime(time.CLOCK_REALTIME, unix_s)
    now = time.gmtime(unix_s)
    try:
        with RTC.open("rb") as module:
            fcntl.ioctl(module, RTC_SET_TIME, struct.pack("9i", now[5], now[4], now[3], now[2], now[1] - 1, now[0] - 1900, 0, 0, 0))
    except OSError as wrong:
        say(f"clock: {RTC} does not take the date ({wrong.strerror}): it is lost when the device is switched off", "warning")
