"""What a device is doing, in one word for a light or a small screen, from what its services say. No socket, clock or file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from edge.messages import Status
from edge.services import SERVICES

CLOSING_S, LONGEST_CLOSING_S = 10.0, 60.0  # from an empty battery to the end: at least, and at most where a file is still written
BATTERY_STEP = 10  # percent: of a smaller change nobody is told
State = Literal["starting", "idle", "sweeping", "saving", "preparing", "fault", "updating", "battery_empty"]


class DeviceState(msgspec.Struct, frozen=True, kw_only=True):
    """``faults``: all that stand, and the silent services', by their names in the fault table. Nothing of patients."""

    state: State
    faults: tuple[str, ...] = ()
    battery_percent: int | None = None
    charging: bool | None = None
    tablets: int = 0
    free_mib: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What a hook is told of when it changes."""
        step = None if self.battery_percent is None else self.battery_percent // BATTERY_STEP
        return self.state, self.faults, step, self.charging


def device_state(statuses: Mapping[str, Status], updating: bool, awaited: Collection[str] = ()) -> DeviceState:
    """``statuses``: the newest of each service that is not silent; ``awaited``: who has only just been started, and nobody misses yet.

    ``updating``: a new version is being installed.
    """
    standing = {name for status in statuses.values() for name in status.standing}
    building = {"run"} if "ENGINE_BUILDING" in standing else set()  # which starts once its engine is there
    gone = {service.gone for name, service in SERVICES.items() if name not in {*statuses, *awaited, *building}}
    tablet = statuses.get("tablet")
    figures = tablet.health if tablet else {}
    percent, free_mib = figures.get("battery_percent"), figures.get("free_mib")
    return DeviceState(
        state="updating" if updating else _state(statuses, standing, bool(gone), bool(awaited)),
        faults=tuple(sorted(standing | gone)),
        battery_percent=None if percent is None else int(percent),
        charging=None if percent is None else bool(figures.get("charging")),
        tablets=tablet.counts.get("clients", 0) if tablet else 0,
        free_mib=None if free_mib is None else int(free_mib),
    )


def _state(statuses: Mapping[str, Status], standing: set[str], gone: bool, starts: bool) -> State:
    does = {name: status.state for name, status in statuses.items()}
    if "BATTERY_EMPTY" in standing:
        return "battery_empty"
    if does.get("record") == "recording" or does.get("run") == "sweeping":
        return "sweeping"
    if does.get("run") in ("saving", "rebuilding"):
        return "saving"
    if "ENGINE_BUILDING" in standing:
        return "preparing"
    if starts:
        return "starting"
    return "fault" if standing or gone else "idle"


class EmptyBattery:
    """When to switch off: once the battery has been empty for a while and the recording and volume are closed, or too long after."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def off(self, statuses: Mapping[str, Status], now_s: float) -> bool:
        """Fed with every look; the charger ends it."""
        tablet = statuses.get("tablet")
        if tablet is None or "BATTERY_EMPTY" not in tablet.standing:
            self._since_s = None
            return False
        self._since_s = now_s if self._since_s is None else self._since_s
        writes = any(name in statuses and statuses[name].state == state for name, state in (("record", "recording"), ("run", "saving")))
        return now_s - self._since_s >= (LONGEST_CLOSING_S if writes else CLOSING_S)
