"""What the device is doing, as tablets are told: fed with all that the bus says, answers the link's ``state``. No socket, clock or thread.

Times are seconds of CLOCK_MONOTONIC and are passed in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edge.config import Config
from edge.console import rounded
from edge.files.names import sweep_id
from edge.light import wavelength_nm
from edge.messages import Bricks, FaultRaised, Frame, Message, Pose, Status, SweepEnded
from edge.services import GONE_AFTER_S, SERVICES, WAITING
from edge.tablet.guide import Guide, limit_mm_s
from edge.tablet.library import Record
from edge.tablet.live import Live
from edge.tablet.raised import Raised
from edge.tablet.store import BrickStore, BrickTooFar
from edge.tablet.sweep import Shown, Sweep

SILENT_S = 1.0
OPEN_KEPT = 16  # sweeps whose end was not heard; the reconstructor writes their volumes one after the other
RECORDING = dict.fromkeys(("last", "stopped", "next", "PROBE_SILENT", "PROBE_RESTARTED", "BATTERY_EMPTY"), "stopped")


class Session:
    """``hear`` every message; it answers what all tablets that watch the live volume are told at once. Then ask for ``state``.

    ``begun``, ``ended`` and ``given_up`` (rebuilds that came to nothing) are for the library to note; the owner takes them out.
    """

    def __init__(self, config: Config) -> None:
        self._spacing_mm = config.volume.spacing_mm
        self.exam: dict[str, str] = {}
        self._tracked = config.motion.source == "recorded"
        self.preset, self.direction = 0, config.motion.direction
        self.frozen = False
        self.sweep: Sweep | None = None
        self.shown = Shown("live", 0, self._spacing_mm)
        self.begun: list[Sweep] = []
        self.ended: list[tuple[Sweep, SweepEnded]] = []
        self.given_up: list[Sweep] = []
        self._open: dict[str, Sweep] = {}  # by id, until the reconstructor says that they have ended: their volumes are being written
        self._heard_end: dict[str, SweepEnded] = {}  # the last of each sweep: it may be said again
        self._to_rebuild: dict[str, Record] = {}  # what is known of sweeps whose rebuild was asked for
        self._listening = False  # before that a sweep may have begun without us, under another form
        self.recorded_bytes_per_s = 0.0
        self.standing: dict[str, str] = {}  # the gateway's own faults that hold, with their detail
        self._live = Live()
        self._status: dict[str, tuple[float, Status]] = {}
        self._raised = Raised()

    def hear(self, message: Message, now_s: float) -> list[dict[str, Any]]:
        """Take one message; answers text messages for whoever watches the live volume."""
        if isinstance(message, Pose):
            return self._pose(message, now_s)
        if isinstance(message, Bricks):
            return self._bricks(message, now_s)
        if isinstance(message, SweepEnded):
            self._ended(message, now_s)
        elif isinstance(message, Status):
            self._heard_status(message, now_s)
        elif isinstance(message, FaultRaised):
            self._heard_fault(message, now_s)
        elif isinstance(message, Frame):
            return self._image(message, now_s)
        return []

    def image(self) -> tuple[Frame, np.ndarray[Any, Any]] | None:
        """The newest live image as (frame, grey [axial, lateral]); None while the display is frozen or before the first."""
        return None if self.frozen else self._live.image()

    def begin(self, asked_s: float) -> None:
        """A sweep was started by the operator, who asked at ``asked_s``: what was shown of the last one makes room."""
        self.frozen = False
        if self.sweep is not None and self.sweep.started_s < asked_s:
            self.sweep, self.shown = None, Shown("live", 0, self._spacing_mm)

    def rebuild(self, known: Record) -> None:
        """The sweep's volume will be built again: what comes of it belongs to what is known, and not to the form."""
        self._to_rebuild[known.id] = known

    def not_rebuilt(self, sweep: str) -> None:
        """The rebuild was refused."""
        self._to_rebuild.pop(sweep, None)

    def name_patient(self, sweep: str, exam: dict[str, str]) -> None:
        """The exam of a sweep that we may still have in hand was corrected."""
        if one := self._in_hand(sweep):
            one.exam = exam

    def service(self, name: str, now_s: float) -> str:
        """What it says of itself; ``gone`` where it says nothing."""
        heard = self._status.get(name)
        return heard[1].state if heard and now_s - heard[0] < GONE_AFTER_S else "gone"

    def statuses(self, now_s: float) -> dict[str, Status]:
        """The newest of each other service that is not silent."""
        return {name: status for name, (heard_s, status) in self._status.items() if now_s - heard_s < GONE_AFTER_S}

    def state(self, now_s: float) -> dict[str, Any]:
        """The parts of ``state`` that are the same for every tablet and come from the bus."""
        age_s = now_s - self._live.heard_s
        bridge, guide = self.service("bridge", now_s), self.sweep.guide if self.sweep else Guide()
        return {
            "type": "state",
            "time_ms": 1e3 * now_s,
            "services": {
                "bridge": bridge if bridge == "gone" else "receiving" if age_s < SILENT_S else "silent",
                "run": self.service("run", now_s),
                "record": self.service("record", now_s),
            },
            "live": self._live.told(now_s, frozen=self.frozen),
            "sweep": self._sweep_state(now_s),
            "guide": {
                "speed_mm_s": guide.speed_mm_s,
                "limit_mm_s": round(limit_mm_s(self._live.rate.per_s(now_s)), 1),
                "verdict": guide.verdict if self.sweep and self.sweep.state == "sweeping" else "none",
                "coverage": guide.coverage(),
            },
            "exam": self.exam,
            "preset": self.preset,
            "direction": self.direction,
            "faults": self._raised.told(now_s, self._holding(now_s)),
        }

    def _holding(self, now_s: float) -> dict[str, dict[str, str]]:
        """Faults that hold, by service."""
        undrawn = {"GEOMETRY_REFUSED": "; ".join(self._live.undrawn.values())} if self._live.undrawn else {}
        return {name: status.standing for name, status in self.statuses(now_s).items()} | {"tablet": self.standing | undrawn}

    def _sweep_state(self, now_s: float) -> dict[str, Any] | None:
        sweep, run = self.sweep, self.service("run", now_s)
        if sweep is None:
            return None
        return sweep.told(run if run in ("rebuilding", "saving") and sweep.id in self._open else sweep.state, now_s)

    def _pose(self, pose: Pose, now_s: float) -> list[dict[str, Any]]:
        sweep, said = self._of(pose.epoch, sweep_id(pose.boot_id, pose.sweep), now_s)
        matrix = np.reshape(pose.image_to_reference, (4, 4))
        if not pose.derived:
            size = sweep.image_size if sweep.image_size != (0, 0) else (2, 2)
            sweep.guide.place(pose.timestamp_ns, matrix, pose.uncertainty, size, pose.bridged, tracked=self._tracked)
        sweep.placed += 1
        sweep.motion = pose.source
        told = [pose.sequence, rounded(sweep.guide.drift_mm, 3), pose.bridged, *matrix[:3].ravel().tolist()]
        sweep.shown.path.append(told)
        return [*said, {"type": "pose", "epoch": pose.epoch, "pose": told}] if sweep.shown is self.shown else said

    def _bricks(self, bricks: Bricks, now_s: float) -> list[dict[str, Any]]:
        sweep, said = self._of(bricks.epoch, sweep_id(bricks.boot_id, bricks.sweep), now_s)
        sweep.channels.add(bricks.channel)
        try:
            sweep.shown.store.take(bricks)
        except BrickTooFar as wrong:
            self._raised.own(now_s, "VOLUME_FULL", str(wrong))
        if bricks.channel and bricks.channel not in sweep.shown.light:
            sweep.shown.light[bricks.channel] = wavelength_nm(bricks.channel_name)
            said += [sweep.shown.told_light()] if sweep.shown is self.shown else []
        return said

    def _of(self, epoch: int, sweep: str, now_s: float) -> tuple[Sweep, list[dict[str, Any]]]:
        """The sweep whose volume has this epoch. A new volume begins, where it is another one than before."""
        mine = self._in_hand(sweep)
        if mine is not None and mine.shown.epoch == epoch:
            return mine, []
        for older in self._open.values():  # they are shown no more, but their path and exam wait for their end
            older.shown = replace(older.shown, store=BrickStore())
        shown, known = Shown("live", epoch, self._spacing_mm), self._to_rebuild.pop(sweep, None)
        if known is not None:
            began = Sweep(sweep, now_s, shown, known.exam, known, state="rebuilding", image_size=known.image_size)
        elif mine is not None:  # the reconstructor was started again
            began = replace(mine, shown=shown, guide=Guide(), placed=0, state="rebuilding" if mine.ended else "sweeping")
        else:
            began = self._new(sweep, shown, now_s, self._listening)
        self._listening = True
        self.sweep, self.shown, self._open[sweep] = began, shown, began
        if len(self._open) > OPEN_KEPT:
            self._raised.own(now_s, "SWEEP_NOT_NOTED", f"{self._open.pop(next(iter(self._open))).id}: nothing was heard of its end")
        return began, shown.told()

    def _new(self, sweep: str, shown: Shown, now_s: float, heard_begin: bool) -> Sweep:
        """Of the patient whose form it is, where we were there as it began."""
        began = Sweep(sweep, now_s, shown, dict(self.exam) if heard_begin else {}, image_size=self._live.size())
        self.begun += [began] if heard_begin else []
        return began

    def _ended(self, ended: SweepEnded, now_s: float) -> None:
        name = sweep_id(ended.boot_id, ended.sweep)
        sweep = self._in_hand(name)
        if ended.service == "record":
            if sweep is None:
                return
            sweep.recording, sweep.recorded_frames = RECORDING.get(ended.reason, "failed"), ended.frames
            if sweep.state != "sweeping" or not self._only_recorded(now_s):
                return
        if self._heard_end.pop(name, None) != ended:
            sweep = self._open.pop(name, None) or Sweep(name, now_s, Shown("live", 0, self._spacing_mm))
            sweep.ended, sweep.state = ended.reason, "unsaved"
            sweep.ended_s = sweep.ended_s or now_s
            sweep.frames, sweep.placed, sweep.lost = ended.frames, ended.placed, ended.lost
            sweep.direction, sweep.motion = ended.direction, ended.motion
            sweep.direction_source = ended.direction_source or "unknown"
            sweep.shown.complete = sweep.whole
            self.ended.append((sweep, ended))
        self._heard_end[name] = ended
        if len(self._heard_end) > OPEN_KEPT:
            del self._heard_end[next(iter(self._heard_end))]

    def _in_hand(self, sweep: str) -> Sweep | None:
        """It runs, its end has not been heard, or it is the one that is shown."""
        return self._open.get(sweep) or (self.sweep if self.sweep is not None and self.sweep.id == sweep else None)

    def _heard_fault(self, fault: FaultRaised, now_s: float) -> None:
        self._raised.hear(now_s, fault)
        if fault.name == "REBUILD_FAILED" and fault.service == "run":
            self._to_rebuild.clear()
            for sweep in [sweep for sweep in self._open.values() if sweep.before is not None]:
                self.given_up.append(self._open.pop(sweep.id))

    def _heard_status(self, status: Status, now_s: float) -> None:
        before = self._status.get(status.service)
        self._status[status.service] = now_s, status
        self._listening |= status.service == "run" and status.state not in ("sweeping", "rebuilding")
        if before is None or status.service not in SERVICES:
            return
        if status.service == "record" and status.state == "recording":
            gained = status.counts.get("bytes", 0) - before[1].counts.get("bytes", 0)
            if gained > 0 and now_s > before[0]:
                self.recorded_bytes_per_s = gained / (now_s - before[0])
            if self.sweep and self.sweep.state == "sweeping":
                self.sweep.recording, self.sweep.recorded_frames = "recording", status.counts.get("synced", 0)
        if status.service == "run" and status.state == "sweeping" and self.sweep and self.sweep.state == "sweeping":
            self.sweep.frames, self.sweep.lost = status.counts.get("frames", 0), status.counts.get("lost", 0)

    def _only_recorded(self, now_s: float) -> bool:
        """Nobody places this sweep's images: its beginning and end are those of the recording."""
        return self.service("run", now_s) in ("gone", WAITING)

    def _image(self, frame: Frame, now_s: float) -> list[dict[str, Any]]:
        first, touching = self._live.frame is None, self._live.hear(frame)
        name, said = sweep_id(*frame.sweep_key), []
        if frame.sweep >= 0 and self._only_recorded(now_s) and self._in_hand(name) is None:
            self.shown = Shown("live", 0, self._spacing_mm)
            self.sweep = self._open[name] = self._new(name, self.shown, now_s, self._listening and not first)
            said = self.shown.told()
        if self.sweep and self.sweep.state == "sweeping":
            self.sweep.guide.judge(now_s, self._live.rate.per_s(now_s), touching)
        return said
