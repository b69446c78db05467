"""What was heard of a front end under test: facts of bounded size, gathered message by message. No socket, clock or verdict.

``take`` every message; tell ``connected`` and ``cut`` what happened to the link in between.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.messages import Buffer, Frame, Geometry
from firmware_bridge.errors import MalformedPacket
from firmware_bridge.wire import decode_frame

MOST_TIMES = 200_000  # frames whose times are kept: an hour at 50 a second
EXAMPLES = 3


@dataclass
class Finding:
    """How often something was seen, with the first few examples."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        """Once more."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)

    def __str__(self) -> str:
        return f"{self.count}: {'; '.join(self.examples)}{'; ...' if self.count > len(self.examples) else ''}"


@dataclass
class SweepHeard:
    """One sweep, as far as it was heard."""

    last_sequence: int
    frames: int = 0
    ended: bool = False
    geometries: dict[str, Geometry] = field(default_factory=dict)


class Heard:
    """The facts. Findings are named for what is wrong."""

    def __init__(self) -> None:
        self.messages = self.frames = self.connections = self.sweeps = 0
        self.malformed: dict[type[MalformedPacket], Finding] = {}
        self.boots: list[int] = []
        self.gaps, self.steps_back, self.late_starts = Finding(), Finding(), Finding()
        self.times_back, self.changed, self.not_ended, self.after_last, self.reused = (Finding() for _ in range(5))
        self.blank, self.frozen, self.outside, self.imu_wrong, self.implausible = (Finding() for _ in range(5))
        self.comparable = self.imu_samples = self.poses = self.extended = self.ended = 0
        self.probe_ns: list[int] = []  # with received_ns: the times of frames, until they are too many
        self.received_ns: list[int] = []
        self.segments: list[int] = []  # where in those the link (or the probe's clock) began anew
        self.geometries: dict[str, Geometry] = {}
        self.back_after_cut: tuple[bool, int] | None = None  # the front end came back: with its boot id, how many frames were lost
        self.dropped, self.waited = Finding(), 0  # while we did not read: frames that are missing, and those that came after all
        self.never_back = False  # nothing came after the cut, in the middle of a sweep
        self._done: set[tuple[int, int]] = set()
        self._key: tuple[int, int] | None = None
        self._sweep = SweepHeard(-1)
        self._images: dict[str, int] = {}
        self._cut = self._restarted = self._held = False

    def connected(self) -> None:
        """A front end was let in."""
        self.connections += 1

    def cut(self) -> None:
        """We hung up. What was on its way is lost, and nobody is to blame for that."""
        self._cut = True

    def hold(self, on: bool) -> None:
        """We stopped to read; or have caught up with all that waited since."""
        self._held = on

    @property
    def between_sweeps(self) -> bool:
        """The last frame that was heard ended its sweep."""
        return self._sweep.ended

    def take(self, parts: Sequence[Buffer], received_ns: int) -> None:
        """One message as it arrived."""
        self.messages += 1
        try:
            frame = decode_frame(parts)
        except MalformedPacket as wrong:
            self.malformed.setdefault(type(wrong), Finding()).add(str(wrong))
            return
        self._take_order(frame)
        self._take_times(frame, received_ns)
        self._take_image(frame)
        self.frames += 1
        self.waited += self._held
        self.poses += frame.pose_status != "missing"
        self.extended += frame.extras != type(frame.extras)()
        self._cut = False

    def _take_order(self, frame: Frame) -> None:
        where = f"frame {frame.sequence} of sweep {frame.sweep}"
        if self._cut and self.boots:
            lost = frame.sequence - self._sweep.last_sequence - 1 if frame.sweep_key == self._key else 0
            self.back_after_cut = frame.boot_id == self.boots[-1], lost
        self._restarted = not self.boots or frame.boot_id != self.boots[-1]
        if self._restarted:
            self.boots.append(frame.boot_id)
        if frame.sweep_key != self._key:
            self._begin(frame, where)
        elif not self._cut and frame.sequence > self._sweep.last_sequence + 1:
            (self.dropped if self._held else self.gaps).add(f"{frame.sequence - self._sweep.last_sequence - 1} before {where}")
        elif frame.sequence <= self._sweep.last_sequence:
            self.steps_back.add(f"{where} after frame {self._sweep.last_sequence}")
        sweep = self._sweep
        if sweep.ended:
            self.after_last.add(where)
        before = sweep.geometries.setdefault(frame.modality, frame.geometry)
        if before != frame.geometry:
            self.changed.add(f"{where}: {_differences(before, frame.geometry)}")
        sweep.last_sequence, sweep.frames, sweep.ended = frame.sequence, sweep.frames + 1, sweep.ended or frame.last
        self.ended += frame.last

    def _begin(self, frame: Frame, where: str) -> None:
        if self._key is not None:
            self._done.add(self._key)
            if not (self._sweep.ended or self._cut) and self._key[0] == frame.boot_id:
                self.not_ended.add(f"sweep {self._key[1]} after frame {self._sweep.last_sequence}")
            if frame.sweep_key in self._done:
                self.reused.add(f"sweep {frame.sweep} again")
            elif frame.sequence and not self._cut:
                self.late_starts.add(where)
        self._key, self._sweep = frame.sweep_key, SweepHeard(frame.sequence - 1)
        self.sweeps += 1

    def _take_times(self, frame: Frame, received_ns: int) -> None:
        if self._cut or self._restarted:
            self.segments.append(len(self.probe_ns))
        elif frame.timestamp_ns <= self.probe_ns[-1]:
            self.times_back.add(f"frame {frame.sequence}: {frame.timestamp_ns} after {self.probe_ns[-1]} ns")
        if len(self.probe_ns) < MOST_TIMES:
            self.probe_ns.append(frame.timestamp_ns)
            self.received_ns.append(received_ns)
        times = [sample.timestamp_ns for sample in frame.extras.imu]
        self.imu_samples += len(times)
        if times and (np.any(np.diff(times) <= 0) or max(abs(t - frame.timestamp_ns) for t in times) > 1_000_000_000):
            self.imu_wrong.add(f"frame {frame.sequence}: {times[0]} to {times[-1]} ns in an image of {frame.timestamp_ns} ns")

    def _take_image(self, frame: Frame) -> None:
        black, white = frame.sample_range
        pixels, where = frame.pixels, f"frame {frame.sequence}"
        if pixels.min() == pixels.max():
            self.blank.add(f"{where}: all {pixels.flat[0]}")
        outside = float(np.mean((pixels < black) | (pixels > white)))
        if outside > 0.01:
            self.outside.add(f"{where}: {100 * outside:.0f} % outside {black:g} to {white:g}")
        checksum, before = zlib.crc32(np.ascontiguousarray(pixels).data), self._images.get(frame.modality)
        if before is not None:
            self.comparable += 1
            if checksum == before:
                self.frozen.add(where)
        self._images[frame.modality] = checksum
        if self.geometries.get(frame.modality) != frame.geometry:
            self.geometries[frame.modality] = frame.geometry
            if wrong := implausible(frame.geometry):
                self.implausible.add(wrong)


def implausible(geometry: Geometry) -> str:
    """Why no probe makes such an image, or nothing."""
    lateral, axial = geometry.spacing_mm
    linear = geometry.kind == "linear"
    depth = geometry.height * axial if linear else geometry.radius_stop_mm - geometry.radius_start_mm
    if not 0.02 <= min(lateral, axial) <= max(lateral, axial) <= 1.5:
        return f"pixels of {lateral:g} x {axial:g} mm (0.02 to 1.5 are usual)"
    if linear and not 5 <= geometry.width * lateral <= 400:
        return f"an image {geometry.width * lateral:g} mm wide (5 to 400 are usual)"
    if not 5 <= depth <= 400:
        return f"an image {depth:g} mm deep (5 to 400 are usual)"
    if geometry.depth_mm and abs(depth / geometry.depth_mm - 1) > 0.1:
        return f"an image {depth:g} mm deep by its spacing, where depth_mm says {geometry.depth_mm:g}"
    return ""


def _differences(one: Geometry, other: Geometry) -> str:
    names = [name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)]
    return ", ".join(f"{name} {getattr(one, name)} became {getattr(other, name)}" for name in names)
