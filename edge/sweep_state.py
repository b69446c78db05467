"""What the reconstructor remembers of the sweep that runs, and how its images lie."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from edge.compounding.image import Image
from edge.compounding.scan_conversion import BadSector, ScanTable
from edge.light import Light
from edge.messages import Frame, Geometry
from edge.motion.cadence import Cadence
from edge.scan_geometry import scan_table
from edge.transform import Transform


@dataclass
class Counts:
    """What became of the frames of one sweep."""

    frames: int = 0
    placed: int = 0
    lost: int = 0
    unplaced: int = 0  # no pose, or one that was refused
    ignored: int = 0  # repeated, or after the sweep had ended


@dataclass
class Stream:
    """What must be remembered of one channel."""

    geometry: Geometry
    table: ScanTable | None
    unbroken: bool = False  # the frame before this one was placed, and none was lost since


@dataclass
class SweepState:
    key: tuple[int, int]
    epoch: int
    light: Light
    first_image: int  # checksum: files without a recording's numbers all have the same key
    last_sequence: int = -1
    last_frame: Frame | None = None
    ended: bool = False
    counts: Counts = field(default_factory=Counts)
    streams: dict[int, Stream] = field(default_factory=dict)  # by channel
    pose: Transform | None = None  # ImageToReference of the last B-mode frame that has one
    pose_ns: int = 0
    pose_geometry: tuple[Geometry, int] | None = None  # of that frame, and the columns of its image
    pose_interval_ns: int = 0  # from the B-mode pose before
    neighbour_missing: bool = False  # B-mode frames after the last pose had none, or too many were lost: nothing lies between
    placed_at_mm: NDArray[np.float64] | None = None  # the origin of the last pose that was placed, and when
    placed_ns: int = 0
    reason: str = ""  # why it ended
    lost_since_pose: int = 0  # frames of any kind
    cadence: Cadence = field(default_factory=Cadence)
    elapsed: int = 0  # B-mode frames from the one before to the last frame
    waiting: deque[tuple[Frame, Image]] = field(default_factory=deque)  # photoacoustic, until the next B-mode pose
    posed: bool = True  # the last frame was placed: a fault is told once per gap
    beams: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None  # of the first placed image, in Reference: origin, direction

    @classmethod
    def begun_by(cls, frame: Frame, epoch: int, light: Light) -> SweepState:
        """The sweep whose first frame is ``frame``."""
        return cls(frame.sweep_key, epoch, light, first_image(frame))

    def misfit(self, frame: Frame) -> tuple[str, str] | None:
        """Why ``frame`` is no part of the stream of its channel, which it may begin: a fault and its detail; None where it is."""
        channel = self.light.channel(frame)
        if channel is None:
            return None
        stream = self.streams.get(channel)
        if stream is None:
            try:
                self.streams[channel] = Stream(frame.geometry, scan_table(frame.geometry))
            except BadSector as wrong:
                return "GEOMETRY_REFUSED", str(wrong)
        elif stream.geometry != frame.geometry:
            return "GEOMETRY_CHANGED", f"at frame {frame.sequence}"
        return None

    def note_placed(self, frame: Frame, pose: Transform, columns: int) -> None:
        """``frame`` lies at ``pose``, as an image of so many columns."""
        self.counts.placed += 1
        self.placed_at_mm, self.placed_ns, self.posed = pose.matrix[:3, 3], frame.timestamp_ns, True
        if self.beams is None:
            down = pose.matrix[:3, 1]
            self.beams = pose.apply([(columns - 1) / 2, 0, 0]), down / np.linalg.norm(down)

    def metadata(self) -> dict[str, str]:
        """What every volume of the sweep says: which sweep it is of, and where the beams of its first placed image begin and point.

        ``sweep``: CRC-32 of its first image, so that it is the same live, offline and from the recording.
        ``beam_origin_mm``: the middle of that image's first row; ``beam_axis``: a unit vector; both "x y z" in Reference.
        """
        told = {"sweep": f"{self.first_image:08x}"}
        if self.beams is not None:
            told |= zip(("beam_origin_mm", "beam_axis"), (" ".join(f"{v + 0.0:.9g}" for v in one) for one in self.beams), strict=True)
        return told


def first_image(frame: Frame) -> int:
    """What names the sweep that begins with this image: CRC-32 of its pixels."""
    return crc32(np.ascontiguousarray(frame.pixels).data)
