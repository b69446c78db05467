"""Frames out of OpenIGTLink messages: images with their spacing, poses found by time. No socket, no clock.

Where an image's pose comes from: its own matrix where it is named as lying in Reference (``Image_Reference``, as PLUS calls it);
else a TRANSFORM or an element of TDATA named ImageToReference of the same time, interpolated between two neighbours.
OpenIGTLink's RAS becomes our LPS here, as edge/openigtlink/bodies.py has it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.messages import SAMPLE_TYPES, BadGeometry, Frame, Geometry
from edge.openigtlink.bodies import LPS_TO_RAS, Floats, ImageBody, parse_image, parse_tracked, parse_transform
from edge.openigtlink.envelope import Envelope
from edge.openigtlink.errors import NotHandled
from edge.transform import Transform, interpolated
from firmware_bridge.errors import BadPose
from firmware_bridge.wire import check_pose

POSE = "ImageToReference"
IN_REFERENCE = "_Reference"
SAME_NS = 1_000_000
NEAREST_NS = 50_000_000  # a pose this far from the image's time is that of another place
SPAN_NS = 200_000_000  # between two poses further apart nothing is interpolated
POSES = 64
LONGEST_SOURCE = 100  # characters of what estimated a pose
LUMINANCE = np.array([77, 150, 29], np.uint32)  # of 256: ITU-R BT.601


class NoSpacing(SonosweepError):
    """Nothing says how large the pixels of the images are."""


@dataclass(frozen=True)
class Wanted:
    """What to take. ``image`` "" takes the first that is a picture; ``spacing_mm`` (lateral, axial) goes before what the images say."""

    image: str = ""
    pose: str = POSE
    spacing_mm: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Waiting:
    at_ns: int
    pixels: NDArray[Any]
    spacing_mm: tuple[float, float] | None
    own: Transform | None
    source: str


class IgtlFrames:
    """Feed it with messages; it answers with frames, numbered from 0 within a sweep. ``passed_over`` counts what was no use, by why."""

    def __init__(self, wanted: Wanted) -> None:
        self.passed_over: Counter[str] = Counter()
        self._wanted = wanted
        self._image = wanted.image
        self._poses: deque[tuple[int, Transform | None]] = deque(maxlen=POSES)
        self._waiting: _Waiting | None = None
        self._sequence = 0
        self._last_ns = -1

    def hear(self, envelope: Envelope, now_ns: int) -> list[Frame]:
        """``now_ns`` stands in for a time that is not told. ``MalformedIgtl``, ``NoSpacing``."""
        at_ns = envelope.timestamp_ns or now_ns
        if envelope.kind == "IMAGE":
            return self._hear_image(envelope, at_ns)
        if envelope.kind == "TRANSFORM" and envelope.device == self._wanted.pose:
            return self._hear_pose(envelope, at_ns, parse_transform(envelope.content))
        if envelope.kind == "TDATA":
            for tool in parse_tracked(envelope.content):
                if tool.name == self._wanted.pose:
                    return self._hear_pose(envelope, at_ns, tool.ras)
        return []

    def rest(self) -> list[Frame]:
        """The image that still waits for a pose: nothing more will come. The next frame begins a sweep."""
        frames = self._release()
        self._poses.clear()
        self._sequence, self._last_ns = 0, -1
        return frames

    def _hear_image(self, envelope: Envelope, at_ns: int) -> list[Frame]:
        if self._image and envelope.device != self._image:
            self.passed_over[f"images named {envelope.device}"] += 1
            return []
        image = parse_image(envelope.content)
        if image.voxels.shape[0] != 1:
            if not self._image:
                self.passed_over[f"volumes named {envelope.device}"] += 1
                return []
            raise NotHandled(f"{envelope.device}: {image.voxels.shape[:3]} voxels are no picture; an image is sent as (1, rows, columns)")
        if at_ns <= self._last_ns:
            self.passed_over["images whose time is not later than the one before"] += 1
            return []
        waiting = _Waiting(at_ns, _grey(image), *self._placed(envelope, image))
        self._image, self._last_ns = envelope.device, at_ns
        frames = self._release()
        self._waiting = waiting
        if waiting.own is not None or not self._poses or abs(self._poses[-1][0] - at_ns) <= SAME_NS:
            frames += self._release()
        return frames

    def _placed(self, envelope: Envelope, image: ImageBody) -> tuple[tuple[float, float] | None, Transform | None, str]:
        """Spacing and pose that the image itself tells, and what estimated that pose."""
        scale = np.linalg.norm(image.image_to_lps[:3, :2], axis=0).tolist()
        told = (scale[0], scale[1]) if scale != [1.0, 1.0] else None  # 1 mm: what PLUS says where it does not know
        ok = envelope.metadata.get("TransformStatus", "OK") == "OK"
        if not envelope.device.endswith(IN_REFERENCE) or not ok:
            return told, None, ""
        source = "".join(filter(str.isprintable, envelope.metadata.get("PoseSource", "")))[:LONGEST_SOURCE]
        return told, Transform("Image", "Reference", _upright(image.image_to_lps)), "" if source == "recorded" else source

    def _hear_pose(self, envelope: Envelope, at_ns: int, ras: Floats) -> list[Frame]:
        ok = envelope.metadata.get("TransformStatus", "OK") == "OK"
        if self._poses and at_ns <= self._poses[-1][0]:
            return []
        self._poses.append((at_ns, Transform("Image", "Reference", _upright(LPS_TO_RAS @ ras)) if ok else None))
        return self._release() if self._waiting and at_ns >= self._waiting.at_ns else []

    def _release(self) -> list[Frame]:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return []
        pose = waiting.own or self._pose_at(waiting.at_ns)
        spacing_mm = self._wanted.spacing_mm or waiting.spacing_mm
        if spacing_mm is None and pose is not None:
            scale = np.linalg.norm(pose.matrix[:3, :2], axis=0).tolist()
            spacing_mm = (scale[0], scale[1]) if scale != [1.0, 1.0] else None
        if spacing_mm is None:
            raise NoSpacing(f"{self._image}: the images say 1 mm a pixel, as senders do that do not know; give --spacing-mm")
        height, width = waiting.pixels.shape
        geometry = Geometry(width=width, height=height, spacing_mm=spacing_mm)
        try:
            geometry.check()
        except BadGeometry as wrong:
            raise NotHandled(f"{self._image}: {wrong}") from wrong
        number, self._sequence = self._sequence, self._sequence + 1
        high = float(np.iinfo(waiting.pixels.dtype).max)
        frame = Frame(
            boot_id=0,
            sweep=0,
            sequence=number,
            timestamp_ns=waiting.at_ns,
            geometry=geometry,
            sample_range=(0.0, high),
            pixels=waiting.pixels,
        )
        return [self._with_pose(frame, pose, waiting.source)]

    def _with_pose(self, frame: Frame, pose: Transform | None, source: str) -> Frame:
        if pose is None:
            return frame
        posed = msgspec.structs.replace(
            frame, pose_status="ok", image_to_reference=tuple(pose.matrix.reshape(-1).tolist()), pose_source=source
        )
        try:
            check_pose(posed)
        except BadPose as wrong:
            self.passed_over[f"poses that do not fit their image ({wrong})"[:200]] += 1
            return frame
        return posed

    def _pose_at(self, at_ns: int) -> Transform | None:
        before = next(((t, pose) for t, pose in reversed(self._poses) if t <= at_ns), None)
        after = next(((t, pose) for t, pose in self._poses if t >= at_ns), None)
        near = [one for one in (before, after) if one is not None]
        if not near:
            return None
        nearest = min(near, key=lambda one: abs(one[0] - at_ns))
        if before and after and before[1] and after[1] and SAME_NS < after[0] - before[0] <= SPAN_NS:
            return interpolated(before[1], after[1], (at_ns - before[0]) / (after[0] - before[0]))
        return nearest[1] if abs(nearest[0] - at_ns) <= NEAREST_NS else None


def _upright(matrix: Floats) -> Floats:
    """The third column as ours has it: the plane's normal, 1 mm long. Senders leave zeros, or the spacing, there."""
    out: Floats = matrix.copy()
    normal = np.cross(matrix[:3, 0], matrix[:3, 1])
    length = float(np.linalg.norm(normal))
    out[:3, 2] = normal / length if length else (0.0, 0.0, 1.0)
    return out


def _grey(image: ImageBody) -> NDArray[Any]:
    """uint8 or uint16 [rows, columns], its own."""
    pixels = image.voxels[0]
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.dtype == np.uint8:
        grey: NDArray[np.uint8] = ((pixels[..., :3] @ LUMINANCE) >> 8).astype(np.uint8)
        return grey
    if pixels.ndim != 2 or pixels.dtype.newbyteorder("=") not in map(np.dtype, SAMPLE_TYPES):
        raise NotHandled(f"pixels of {pixels.dtype} {pixels.shape[2:]} are not taken; grey in 8 or 16 bits, or 8-bit colours, are")
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
