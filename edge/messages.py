"""Everything that the processes of one device say to each other: one table of message types and their one codec.

On the bus a message is ``[topic, head, array, array ...]``: the head is MessagePack (strict: unknown and missing fields are
refused), arrays follow as raw little-endian buffers in the order of the head. Nothing is pickled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.transform import Transform

Buffer = bytes | bytearray | memoryview
ARRAY_TYPES = ("|u1", "<u2", "<i4", "<f4", "<f8")
SAMPLE_TYPES = {"uint8": "|u1", "uint16": "<u2"}
Orientation = Literal["MF", "MN", "UF", "UN"]
PoseStatus = Literal["missing", "ok", "invalid"]


class MalformedMessage(SonosweepError):
    """Bytes that arrived are not a message of ours."""


class BadGeometry(SonosweepError):
    """A frame's geometry contradicts itself or is out of range."""


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all messages. Arrays travel beside the head and are read-only views of the bytes that arrived."""

    topic: ClassVar[str]


class Geometry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How samples lie in the image plane. ``linear``: columns x rows of the MF image. ``convex``: beams x samples (polar).

    ``spacing_mm`` (lateral, axial) is the pixel size of the image that is placed: for convex frames that of the image after
    scan conversion (isotropic). Angles: 0 points straight down, positive towards + lateral.
    """

    kind: Literal["linear", "convex"] = "linear"
    width: int
    height: int
    spacing_mm: tuple[float, float]
    depth_mm: float = 0.0
    radius_start_mm: float = 0.0
    radius_stop_mm: float = 0.0
    angle_start_deg: float = 0.0
    angle_stop_deg: float = 0.0

    def check(self) -> None:
        """``BadGeometry`` unless every value is finite, in range and of a possible probe."""
        numbers = (*self.spacing_mm, self.depth_mm, self.radius_start_mm, self.radius_stop_mm, self.angle_start_deg, self.angle_stop_deg)
        if not all(map(math.isfinite, numbers)):
            raise BadGeometry(f"a geometry must be finite, got {self}")
        if not (2 <= self.width <= 4096 and 2 <= self.height <= 4096):
            raise BadGeometry(f"a frame has 2 to 4096 columns and rows, got {self.width} x {self.height}")
        if not all(0.001 <= s <= 10 for s in self.spacing_mm):
            raise BadGeometry(f"pixel spacing must lie between 0.001 and 10 mm, got {self.spacing_mm}")
        if not 0 <= self.depth_mm <= 1000:
            raise BadGeometry(f"depth must lie between 0 and 1000 mm, got {self.depth_mm}")
        if self.kind == "convex":
            if self.spacing_mm[0] != self.spacing_mm[1]:
                raise BadGeometry(f"a convex frame is scan-converted to square pixels, got {self.spacing_mm} mm")
            if not 0 < self.radius_start_mm < self.radius_stop_mm <= 1000:
                raise BadGeometry(f"radii must rise from above 0 to 1000 mm, got {self.radius_start_mm} to {self.radius_stop_mm}")
            if not -89 <= self.angle_start_deg < self.angle_stop_deg <= 89:
                raise BadGeometry(f"angles must rise within -89 to 89 degrees, got {self.angle_start_deg} to {self.angle_stop_deg}")


class ImuSample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reading of the probe's inertial unit, at its own time of the probe's clock, in the unit's own axes."""

    timestamp_ns: int
    acceleration_m_s2: tuple[float, float, float]
    angular_velocity_rad_s: tuple[float, float, float]
    magnetic_field_ut: tuple[float, float, float] | None = None


class Extras(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a front end may tell beside the image. ``unknown`` keeps blocks of a type we do not know, as (type, bytes)."""

    imu: tuple[ImuSample, ...] = ()
    mechanical_index: float | None = None
    thermal_index: float | None = None
    focus_mm: tuple[float, ...] = ()
    laser_energy_mj: float | None = None
    unknown: tuple[tuple[int, bytes], ...] = ()


class Frame(Message, frozen=True, kw_only=True):
    """One image as the probe sent it, in MF orientation, stamped by the bridge.

    ``pixels`` [rows, columns] (convex: [samples, beams]) uint8 or uint16; ``sample_range`` says which sample values mean black
    and white. ``timestamp_ns`` is the probe's clock; ``received_ns`` is CLOCK_MONOTONIC at the bridge, and
    ``clock_offset_ns`` the bridge's estimate of received minus probe time without transport delay. ``image_to_reference`` is
    the tracked pose (row-major 4x4, pixel indices of the MF image to millimetres) where the probe has a tracker.

    A pose that was estimated and not tracked says so: ``pose_source`` names what estimated it (``constant``, ``network: NAME``),
    ``pose_direction`` and ``pose_direction_source`` the direction it was given; all three are empty for a tracker's pose."""

    topic: ClassVar[str] = "frame"
    boot_id: int
    sweep: int
    sequence: int
    timestamp_ns: int
    received_ns: int = 0
    clock_offset_ns: int = 0
    last: bool = False
    modality: Literal["bmode", "photoacoustic"] = "bmode"
    wavelength_nm: float = 0.0
    geometry: Geometry
    sample_range: tuple[float, float] = (0.0, 255.0)
    pose_status: PoseStatus = "missing"
    image_to_reference: tuple[float, ...] | None = None
    pose_source: str = ""
    pose_direction: str = ""
    pose_direction_source: str = ""
    extras: Extras = Extras()
    pixels: NDArray[Any]

    @property
    def pose(self) -> Transform | None:
        """ImageToReference (estimated, where ``pose_source`` says so), or None where there is none that holds."""
        if self.pose_status != "ok" or self.image_to_reference is None:
            return None
        return Transform("Image", "Reference", np.reshape(self.image_to_reference, (4, 4)))

    @property
    def pose_origin(self) -> tuple[str, str, str]:
        """(pose_source, pose_direction, pose_direction_source)."""
        return self.pose_source, self.pose_direction, self.pose_direction_source

    def check(self) -> None:
        """``MalformedMessage`` (or ``BadGeometry``) where a frame from a file contradicts itself. The wire has stricter rules."""
        self.geometry.check()
        if self.pixels.shape != (self.geometry.height, self.geometry.width) or self.pixels.dtype.str not in SAMPLE_TYPES.values():
            raise MalformedMessage(f"frame {self.sequence}: {self.pixels.dtype} {self.pixels.shape} are not the pixels of {self.geometry}")
        black, white = self.sample_range
        if not 0 <= black < white <= np.iinfo(self.pixels.dtype).max:
            raise MalformedMessage(f"frame {self.sequence}: black and white must rise within {self.pixels.dtype}, got {self.sample_range}")
        if self.image_to_reference is not None and len(self.image_to_reference) != 16:
            raise MalformedMessage(f"frame {self.sequence}: a pose has 16 numbers, got {len(self.image_to_reference)}")

    @property
    def sweep_key(self) -> tuple[int, int]:
        """(boot_id, sweep): frames with the same key belong to one sweep."""
        return self.boot_id, self.sweep


class Pose(Message, frozen=True, kw_only=True):
    """Where a frame was placed. ``uncertainty`` [6]: standard deviation of the step (mm, rad), empty where not known."""

    topic: ClassVar[str] = "pose"
    boot_id: int
    sweep: int
    sequence: int
    timestamp_ns: int
    epoch: int
    image_to_reference: tuple[float, ...]
    source: str
    uncertainty: tuple[float, ...] = ()
    bridged: int = 0  # lost frames that the step before this pose had to span
    derived: bool = False  # it lies where the poses of other images put it, and is no step of the path


class Bricks(Message, frozen=True, kw_only=True):
    """The bricks that one frame changed, as they are now. A new ``epoch`` means: throw away every brick held so far.

    ``coords`` int32 [n, 3] brick indices (x, y, z); voxel (i, j, k) of brick b has its centre at spacing_mm * (8 b + (i, j, k)) in
    Reference. ``intensity`` and ``state`` uint8 [n, 8, 8, 8] as [k, j, i]; state 0 empty, 1 measured, 2 interpolated, 3 filled."""

    topic: ClassVar[str] = "bricks"
    boot_id: int
    sweep: int
    sequence: int
    epoch: int
    channel: int
    channel_name: str  # as its file is named: ultrasound, photoacoustic-850nm
    spacing_mm: float
    timestamp_ns: int
    received_ns: int
    coords: NDArray[Any]
    intensity: NDArray[Any]
    state: NDArray[Any]


class SweepEnded(Message, frozen=True, kw_only=True):
    """A sweep is complete. ``reason``: ``last`` (the probe said so), a fault's name, or ``stopped``; ``files`` what was written."""

    topic: ClassVar[str] = "sweep_ended"
    service: str
    boot_id: int
    sweep: int
    reason: str
    frames: int
    placed: int = 0
    lost: int = 0
    files: tuple[str, ...] = ()
    motion: str = ""
    direction: str = ""
    direction_source: str = ""
    rebuilt: bool = False  # its volume was built from the recording once more


class FaultRaised(Message, frozen=True, kw_only=True):
    """Something of the fault table happened; ``detail`` adds the numbers of this case."""

    topic: ClassVar[str] = "fault"
    service: str
    name: str
    detail: str = ""
    boot_id: int = 0
    sweep: int = -1
    sequence: int = -1


class Status(Message, frozen=True, kw_only=True):
    """What a service says of itself several times a second: the sign of life that the others listen for."""

    topic: ClassVar[str] = "status"
    service: str
    state: str
    counts: dict[str, int]
    backend: str = ""
    latency_ms: dict[str, tuple[float, float, float]] = {}  # stage: p50, p99, max since the service began
    faults: dict[str, int] = {}  # raised since the service began, by name: a client that came late learns of them here
    standing: dict[str, str] = {}  # faults that hold now, with their detail
    ended: SweepEnded | None = None  # its last, again: whoever was too slow for the message hears of the end here
    health: dict[str, float] = {}  # memory_mib of the process; the gateway adds the device's own
    safe_ns: int = 0  # the recorder: frames received until then are on the disk, or were refused


class Command(Message, frozen=True, kw_only=True):
    """What the operator wants of a service; ``number`` comes back in its :class:`Answer`. ``direction`` "" is not verified."""

    topic: ClassVar[str] = "command"
    to: str
    number: int
    action: Literal["start", "stop", "aim", "rebuild"]  # the bridge: start and stop a sweep; run: aim those to come, rebuild a volume
    direction: Literal["+", "-", ""] = ""
    direction_source: str = ""  # who confirmed it
    path: str = ""  # of the recording to rebuild from
    frames: int = 0  # images in the volume that is to be rebuilt: one with fewer does not take its place


class Answer(Message, frozen=True, kw_only=True):
    """What became of the command ``number``: done (``error`` empty), or refused by the name of an error, with ``detail``."""

    topic: ClassVar[str] = "answer"
    service: str
    number: int
    error: str = ""
    detail: str = ""


TYPES: dict[str, type[Message]] = {t.topic: t for t in (Frame, Pose, Bricks, SweepEnded, FaultRaised, Status, Command, Answer)}


def encode(message: Message) -> list[Buffer]:
    """The parts of one message; arrays are not copied where they are contiguous."""
    arrays: list[Buffer] = []

    def to_head(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(np.ascontiguousarray(value).data.cast("B"))
            return (value.dtype.str, value.shape)
        raise TypeError(f"{type(value).__name__} cannot travel")

    head = msgspec.msgpack.encode(message, enc_hook=to_head)
    return [message.topic.encode(), head, *arrays]


def decode(parts: Sequence[Buffer]) -> Message:
    """The message in ``parts``; ``MalformedMessage`` for anything else. Arrays are views into the last parts."""
    waiting = list(parts[2:])

    def to_array(expected: type, value: Any) -> Any:
        dtype, shape = value
        if dtype not in ARRAY_TYPES:
            raise ValueError(f"array type {dtype!r} is not allowed")
        return np.frombuffer(waiting.pop(0), np.dtype(dtype)).reshape([int(n) for n in shape])

    try:
        kind = TYPES[bytes(parts[0]).decode()]
        message = msgspec.msgpack.decode(bytes(parts[1]), type=kind, dec_hook=to_array)
    except (KeyError, ValueError, TypeError, IndexError, msgspec.MsgspecError) as wrong:
        raise MalformedMessage(f"not a message: {bytes(parts[0])[:40] if parts else b''!r}: {wrong}") from wrong
    if waiting:
        raise MalformedMessage(f"{kind.topic}: {len(waiting)} parts too many")
    return message
