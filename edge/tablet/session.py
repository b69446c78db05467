"""What the device is doing, as tablets are told: fed with all that the bus says, answers the link's ``state``. No socket, clock or thread.

Times are seconds of CLOCK_MONOTONIC and are passed in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.config import Config
from edge.faults import FAULTS
from edge.light import wavelength_nm
from edge.messages import Bricks, FaultRaised, Frame, Message, Pose, Status, SweepEnded
from edge.services import GONE_AFTER_S, SERVICES
from edge.sweep_state import placed_size
from edge.tablet.guide import FrameRate, Guide, contact, limit_mm_s
from edge.tablet.jpeg import LiveImages
from edge.tablet.library import Record, sweep_id
from edge.tablet.shown import Shown
from edge.tablet.store import BrickTooFar

FAULTS_KEPT, FAULT_SHOWN_S = 16, 30.0
SILENT_S = 1.0
RECORDING = dict.fromkeys(("last", "stopped", "next", "PROBE_SILENT", "PROBE_RESTARTED", "BATTERY_EMPTY"), "stopped")


@dataclass
class Sweep:
    """The sweep that runs or has just ended."""

    id: str
    started_s: float
    state: str = "sweeping"
    frames: int = 0
    placed: int = 0
    lost: int = 0
    ended: str = ""
    ended_s: float | None = None
    direction: str = ""
    direction_source: str = "unverified"
    motion: str = ""
    recording: str = "none"
    recorded_frames: int = 0
    image_size: tuple[int, int] = (0, 0)


class Session:
    """``hear`` every message; it answers what all tablets that watch the live volume are told at once. Then ask for ``state``."""

    def __init__(self, config: Config) -> None:
        self._spacing_mm = config.volume.spacing_mm
        self.exam: dict[str, str] = {}
        self._tracked = config.motion.source == "recorded"
        self.preset, self.direction = 0, config.motion.direction
        self.frozen = False
        self.sweep: Sweep | None = None
        self.shown = Shown("live", 0, self._spacing_mm)
        self.ended: list[SweepEnded] = []  # of the reconstructor, for the library to note; the owner takes them out
        self.guide = Guide()
        self.recorded_bytes_per_s = 0.0
        self.standing: dict[str, str] = {}  # the gateway's own faults that hold, with their detail
        self._images, self._rate = LiveImages(), FrameRate()
        self._live: dict[str, Any] | None = None
        self._frame: Frame | None = None
        self._grey: np.ndarray[Any, Any] | None = None
        self._image_s = -1e9
        self._status: dict[str, tuple[float, Status]] = {}
        self._faults: deque[tuple[float, FaultRaised]] = deque(maxlen=FAULTS_KEPT)

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
            self._faults.append((now_s, message))
        elif isinstance(message, Frame):
            self._image(message, now_s)
        return []

    def image(self) -> tuple[Frame, np.ndarray[Any, Any]] | None:
        """The newest live image as (frame, grey [axial, lateral]); None while the display is frozen or before the first."""
        if self._frame is None or self._grey is None or self.frozen:
            return None
        return self._frame, self._grey

    def begin(self, now_s: float) -> None:
        """A sweep was started by the operator: what was shown of the last one makes room."""
        self.frozen = False
        self.sweep = None
        self.guide = Guide()

    def record(self) -> Record | None:
        """What the library is to know of the sweep that has ended."""
        sweep = self.sweep
        if sweep is None:
            return None
        return Record(
            id=sweep.id,
            exam=self.exam,
            frames=sweep.placed,
            length_mm=round(self.guide.length_mm, 1),
            duration_s=round((sweep.ended_s or sweep.started_s) - sweep.started_s, 2),
            direction=sweep.direction,
            direction_source=sweep.direction_source,
            motion=sweep.motion,
            drift_mm=_rounded(self.guide.drift_mm, 2),
            spacing_mm=self.shown.spacing_mm,
            channels=tuple(
                sorted({("ultrasound", "photoacoustic")[min(c, 1)] for c in self.shown.store.channel[: self.shown.store.count].tolist()})
            ),
            ended=sweep.ended,
            image_size=sweep.image_size,
            path=[tuple(pose) for pose in self.shown.path],
        )

    def service(self, name: str, now_s: float) -> str:
        """What it says of itself; ``gone`` where it says nothing."""
        heard = self._status.get(name)
        return heard[1].state if heard and now_s - heard[0] < GONE_AFTER_S else "gone"

    def statuses(self, now_s: float) -> dict[str, Status]:
        """The newest of each other service that is not silent."""
        return {name: status for name, (heard_s, status) in self._status.items() if now_s - heard_s < GONE_AFTER_S}

    def state(self, now_s: float) -> dict[str, Any]:
        """The parts of ``state`` that are the same for every tablet and come from the bus."""
        age_s = now_s - self._image_s
        bridge = self.service("bridge", now_s)
        live = None if self._live is None else self._live | {
            "frames_per_s": round(self._rate.per_s(now_s), 1), "frozen": self.frozen, "age_ms": round(1e3 * age_s)
        }  # fmt: skip
        return {
            "type": "state",
            "time_ms": 1e3 * now_s,
            "services": {
                "bridge": bridge if bridge == "gone" else "receiving" if age_s < SILENT_S else "silent",
                "run": self.service("run", now_s),
                "record": self.service("record", now_s),
            },
            "live": live,
            "sweep": self._sweep_state(now_s),
            "guide": {
                "speed_mm_s": self.guide.speed_mm_s,
                "limit_mm_s": round(limit_mm_s(self._rate.per_s(now_s)), 1),
                "verdict": self.guide.verdict if self.sweep and self.sweep.state == "sweeping" else "none",
                "coverage": self.guide.coverage(),
            },
            "exam": self.exam,
            "preset": self.preset,
            "direction": self.direction,
            "faults": self._told_faults(now_s),
        }

    def _told_faults(self, now_s: float) -> list[dict[str, Any]]:
        """What was raised of late, and what still holds however long ago it was raised."""
        told = [(at, f.service, f.name, f.detail) for at, f in self._faults if now_s - at < FAULT_SHOWN_S]
        holds = {name: status.standing for name, status in self.statuses(now_s).items()}
        for service, standing in {**holds, "tablet": self.standing}.items():
            told += [(now_s, service, name, detail) for name, detail in standing.items() if name not in {f[2] for f in told}]
        return [
            {"name": name, "service": service, "detail": detail, "age_s": round(now_s - at, 1), "effect": FAULTS[name].effect.value}
            for at, service, name, detail in told
            if name in FAULTS
        ]

    def _sweep_state(self, now_s: float) -> dict[str, Any] | None:
        sweep = self.sweep
        if sweep is None:
            return None
        run = self.service("run", now_s)
        return {
            "id": sweep.id,
            "state": run if run in ("rebuilding", "saving") else sweep.state,
            "epoch": self.shown.epoch,
            "elapsed_s": round((sweep.ended_s or now_s) - sweep.started_s, 1),
            "frames": sweep.frames,
            "placed": sweep.placed,
            "lost": sweep.lost,
            "length_mm": round(self.guide.length_mm, 1),
            "drift_mm": _rounded(self.guide.drift_mm, 2),
            "direction": sweep.direction,
            "direction_source": sweep.direction_source,
            "motion": sweep.motion,
            "recording": sweep.recording,
            "recorded_frames": sweep.recorded_frames,
            "ended": sweep.ended,
            "exam": self.exam,
        }

    def _pose(self, pose: Pose, now_s: float) -> list[dict[str, Any]]:
        said = self._epoch(pose.epoch, sweep_id(pose.boot_id, pose.sweep), now_s)
        sweep = self.sweep
        assert sweep is not None
        matrix = np.reshape(pose.image_to_reference, (4, 4))
        size = sweep.image_size if sweep.image_size != (0, 0) else (2, 2)
        self.guide.place(pose.timestamp_ns, matrix, pose.uncertainty, size, pose.bridged, tracked=self._tracked)
        sweep.placed += 1
        sweep.motion = pose.source
        told = [pose.sequence, _rounded(self.guide.drift_mm, 3), pose.bridged, *matrix[:3].ravel().tolist()]
        self.shown.path.append(told)
        return [*said, {"type": "pose", "epoch": pose.epoch, "pose": told}]

    def _bricks(self, bricks: Bricks, now_s: float) -> list[dict[str, Any]]:
        said = self._epoch(bricks.epoch, sweep_id(bricks.boot_id, bricks.sweep), now_s)
        try:
            self.shown.store.take(bricks)
        except BrickTooFar as wrong:
            self._faults.append((now_s, FaultRaised(service="tablet", name="VOLUME_FULL", detail=str(wrong))))
        if bricks.channel and bricks.channel not in self.shown.light:
            self.shown.light[bricks.channel] = wavelength_nm(bricks.name)
            said.append(self.shown.told_light())
        return said

    def _epoch(self, epoch: int, sweep: str, now_s: float) -> list[dict[str, Any]]:
        """A new volume begins, where ``epoch`` is another one than before."""
        if epoch == self.shown.epoch:
            return []
        again = self.sweep is not None and self.sweep.id == sweep
        self.shown, self.guide = Shown("live", epoch, self._spacing_mm), Guide()
        if self.sweep is not None and again:
            self.sweep.state, self.sweep.placed = "rebuilding", 0
        else:
            self.sweep = Sweep(sweep, now_s, image_size=self._size())
        return self.shown.told()

    def _ended(self, ended: SweepEnded, now_s: float) -> None:
        sweep = self.sweep
        if sweep is None or sweep.id != sweep_id(ended.boot_id, ended.sweep):
            return
        if ended.service == "record":
            sweep.recording = RECORDING.get(ended.reason, "failed")
            sweep.recorded_frames = ended.frames
            return
        sweep.ended, sweep.state = ended.reason, "unsaved"
        sweep.ended_s = sweep.ended_s or now_s
        sweep.frames, sweep.placed, sweep.lost = ended.frames, ended.placed, ended.lost
        sweep.direction, sweep.direction_source, sweep.motion = ended.direction, ended.direction_source, ended.motion
        self.shown.complete = True
        self.ended.append(ended)

    def _heard_status(self, status: Status, now_s: float) -> None:
        before = self._status.get(status.service)
        self._status[status.service] = now_s, status
        if before is None or status.service not in SERVICES:
            return
        if status.service == "record" and status.state == "recording":
            gained = status.counts.get("bytes", 0) - before[1].counts.get("bytes", 0)
            if gained > 0 and now_s > before[0]:
                self.recorded_bytes_per_s = gained / (now_s - before[0])
            if self.sweep and self.sweep.state == "sweeping":
                self.sweep.recording, self.sweep.recorded_frames = "recording", status.counts.get("synced", 0)
        if status.service == "run" and status.state == "sweeping" and self.sweep:
            self.sweep.frames, self.sweep.lost = status.counts.get("frames", 0), status.counts.get("lost", 0)

    def _image(self, frame: Frame, now_s: float) -> None:
        self._rate.add(frame.received_ns / 1e9)
        self._frame, self._grey, self._image_s = frame, self._images.grey(frame), frame.received_ns / 1e9
        height, width = self._grey.shape
        touching = contact(self._grey, frame.geometry.spacing_mm[1]) if frame.modality == "bmode" else True
        if frame.modality == "bmode" or self._live is None:
            self._live = {
                "width": width,
                "height": height,
                "spacing_mm": frame.geometry.spacing_mm,
                "modality": frame.modality,
                "mechanical_index": frame.extras.mechanical_index,
                "thermal_index": frame.extras.thermal_index,
                "contact": touching,
            }
        if self.sweep and self.sweep.state == "sweeping":
            self.guide.judge(now_s, self._rate.per_s(now_s), touching)

    def _size(self) -> tuple[int, int]:
        return placed_size(self._frame.geometry) if self._frame is not None else (0, 0)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
