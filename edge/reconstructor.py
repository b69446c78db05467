"""The heart: takes one frame, answers with what there is to say about it. No socket, clock, thread or file.

The live service, the offline command, replay and every test drive this class, so a sweep gives the same volume on every way.

1. Is the frame the next one of its sweep? Losses are counted; too many end the sweep where poses are relative.
2. Where is it? The motion source answers; a photoacoustic frame without a tracker lies between its B-mode neighbours.
3. Place it, and say which bricks changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.compounding import CHANNELS as CHANNEL_NAMES
from edge.compounding import MEASURED, BadPose, Compounder, VolumeFull
from edge.compounding.scan_conversion import BadSector, ScanTable, Sector
from edge.config import Direction
from edge.faults import FAULTS, Effect
from edge.files.volumes import Volume
from edge.messages import Bricks, FaultRaised, Frame, Geometry, Message, Pose, SweepEnded
from edge.motion import MotionFailed, MotionSource, Step
from edge.transform import Transform, image_to_center, image_to_face, interpolated

MAX_BRIDGED_FRAMES = 3  # speckle is decorrelated by then, and a relative pose chain is broken for good
CHANNEL_OF = {"bmode": 0, "photoacoustic": 1}


@dataclass
class Counts:
    """What became of the frames of one sweep."""

    frames: int = 0
    placed: int = 0
    lost: int = 0
    unplaced: int = 0  # no pose, or one that was refused
    ignored: int = 0  # repeated, or after the sweep had ended


@dataclass
class _Stream:
    """What must be remembered of one modality."""

    geometry: Geometry
    table: ScanTable | None
    unbroken: bool = False  # the frame before this one was placed, and none was lost since


@dataclass
class _Sweep:
    key: tuple[int, int]
    epoch: int
    last_sequence: int = -1
    ended: bool = False
    counts: Counts = field(default_factory=Counts)
    streams: dict[str, _Stream] = field(default_factory=dict)
    pose: Transform | None = None  # ImageToReference of the last B-mode frame that has one
    pose_ns: int = 0
    lost_since_pose: int = 0
    waiting: list[tuple[Frame, NDArray[np.uint8]]] = field(default_factory=list)  # photoacoustic, until the next B-mode pose
    posed: bool = True  # the last B-mode frame had a pose: the fault is told once per gap


class Reconstructor:
    """Frames of one sweep after another in, messages out. Owns neither ``motion`` nor ``compounder``; one thread.

    ``say_bricks`` False leaves the changed bricks unsaid: nobody watches an offline reconstruction.
    """

    def __init__(
        self, motion: MotionSource, compounder: Compounder, *, direction: Direction = "", fill_holes: bool = False, say_bricks: bool = True
    ) -> None:
        self.motion = motion
        self.compounder = compounder
        self.direction = (direction or "+") if motion.relative else "tracked"
        self.direction_source = ("preset" if direction else "unverified") if motion.relative else "tracked"
        self._fill_holes = fill_holes
        self._say_bricks = say_bricks
        self._sweep: _Sweep | None = None
        self._epoch = 0

    @property
    def counts(self) -> Counts:
        """Of the current or the last sweep."""
        return self._sweep.counts if self._sweep else Counts()

    @property
    def sweeping(self) -> bool:
        """A sweep is open."""
        return self._sweep is not None and not self._sweep.ended

    def feed(self, frame: Frame) -> list[Message]:
        """Take one frame; answer with what there is to say about it, in order."""
        said: list[Message] = []
        if self._sweep is None or frame.sweep_key != self._sweep.key:
            said += self._begin(frame)
        sweep = self._sweep
        assert sweep is not None
        if sweep.ended:
            sweep.counts.ignored += 1
            return said
        lost = frame.sequence - sweep.last_sequence - 1
        if lost < 0:
            sweep.counts.ignored += 1
            return [*said, self._fault(frame, "FRAME_REPEATED", f"frame {frame.sequence} after frame {sweep.last_sequence}")]
        sweep.counts.frames += 1
        said += self._account(sweep, frame, lost)
        if not sweep.ended:
            said += self._place(sweep, frame)
        if frame.last and not sweep.ended:
            said += self.finish("last")
        return said

    def finish(self, reason: str) -> list[Message]:
        """End the open sweep; ``reason`` is ``last``, ``stopped`` or the name of a fault, which is then raised."""
        sweep = self._sweep
        if sweep is None or sweep.ended:
            return []
        said: list[Message] = []
        if reason in FAULTS:
            said.append(FaultRaised(service="run", name=reason, boot_id=sweep.key[0], sweep=sweep.key[1], sequence=sweep.last_sequence))
        for frame, _ in sweep.waiting:  # after the last B-mode frame: no second neighbour to lie between
            said += self._without_pose(sweep, frame)
        sweep.waiting.clear()
        if self._fill_holes:
            for channel in range(len(CHANNEL_NAMES)):
                self.compounder.fill_holes(channel)
        sweep.ended = True
        counts = sweep.counts
        ended = SweepEnded(
            service="run",
            boot_id=sweep.key[0],
            sweep=sweep.key[1],
            reason=reason,
            frames=counts.frames,
            placed=counts.placed,
            lost=counts.lost,
        )
        return [*said, ended]

    def volumes(self) -> dict[str, Volume]:
        """What has been built, by channel name; only channels that hold a voxel. Copies: placing may go on."""
        metadata = {
            "motion": self.motion.name,
            "direction": self.direction,
            "direction_source": self.direction_source,
            "frames": str(self.counts.frames),
            "frames_placed": str(self.counts.placed),
            "frames_lost": str(self.counts.lost),
            "compounding": self.compounder.settings.compounding,
        }
        found = {}
        for channel, name in enumerate(CHANNEL_NAMES):
            voxels = self.compounder.voxel_counts(channel)
            if not any(voxels[MEASURED:]):
                continue
            dense = self.compounder.dense(channel)
            x, y, z = dense.origin_mm.tolist()
            numbers = {f"voxels_{state}": str(count) for state, count in voxels._asdict().items() if state != "empty"}
            found[name] = Volume(dense.intensity, (x, y, z), dense.spacing_mm, {"channel": name, **metadata, **numbers}, dense.state)
        return found

    def _begin(self, frame: Frame) -> list[Message]:
        said: list[Message] = []
        if self.sweeping and self._sweep is not None:
            said += self.finish("PROBE_RESTARTED" if frame.boot_id != self._sweep.key[0] else "next")
        self._epoch += 1
        self.compounder.reset()
        self._sweep = _Sweep(frame.sweep_key, self._epoch)
        if frame.sequence > 0:
            self._sweep.last_sequence = frame.sequence - 1
            self._sweep.counts.lost = frame.sequence
            said.append(self._fault(frame, "SWEEP_JOINED_LATE", f"the first frame seen is number {frame.sequence}"))
        if self.direction_source == "unverified":
            said.append(self._fault(frame, "DIRECTION_UNVERIFIED", f"taken as {self.direction}"))
        return said

    def _account(self, sweep: _Sweep, frame: Frame, lost: int) -> list[Message]:
        """Continuity and geometry; answers the faults."""
        said: list[Message] = []
        sweep.last_sequence = frame.sequence
        sweep.counts.lost += lost
        sweep.lost_since_pose += lost
        if lost:
            for stream in sweep.streams.values():
                stream.unbroken = False
            if self.motion.relative and lost > MAX_BRIDGED_FRAMES:
                return self._break(frame, "FRAMES_LOST", f"{lost} before frame {frame.sequence}")
            said.append(self._fault(frame, "FRAMES_BRIDGED", f"{lost} before frame {frame.sequence}"))
        stream_before = sweep.streams.get(frame.modality)
        if stream_before is None:
            try:
                sweep.streams[frame.modality] = _Stream(frame.geometry, scan_table(frame.geometry))
            except BadSector as wrong:
                return [*said, *self._break(frame, "GEOMETRY_REFUSED", str(wrong))]
        elif stream_before.geometry != frame.geometry:
            return [*said, *self._break(frame, "GEOMETRY_CHANGED", f"at frame {frame.sequence}")]
        return said

    def _place(self, sweep: _Sweep, frame: Frame) -> list[Message]:
        image = self._image(sweep, frame)
        if frame.modality == "photoacoustic" and self.motion.relative:
            sweep.waiting.append((frame, image))
            return []
        first = frame.modality == "bmode" and sweep.pose is None
        try:
            step = self.motion.start(frame, image) if first else self.motion.step(frame, image, 1 + sweep.lost_since_pose)
        except MotionFailed as wrong:
            return self._break(frame, "NETWORK_FAILED", str(wrong))
        pose = self._pose(sweep, frame, image, step)
        if pose is None:
            return self._without_pose(sweep, frame)
        said: list[Message] = []
        if frame.modality == "bmode":
            for waiting, pixels in sweep.waiting:
                at = self._between(sweep, waiting.timestamp_ns, pose, frame.timestamp_ns)
                said += self._put(sweep, waiting, pixels, self._on_face(at, waiting, pixels, frame.geometry, image), Step())
            sweep.waiting.clear()
            said += self._put(sweep, frame, image, pose, step, sweep.lost_since_pose)
            sweep.pose, sweep.pose_ns, sweep.posed = pose, frame.timestamp_ns, True
            sweep.lost_since_pose = 0
            return said
        return self._put(sweep, frame, image, pose, step)

    def _image(self, sweep: _Sweep, frame: Frame) -> NDArray[np.uint8]:
        """8-bit grey of the frame, scan-converted where it is convex."""
        pixels = frame.pixels
        black, white = frame.sample_range
        if pixels.dtype != np.uint8 or (black, white) != (0.0, 255.0):
            grey = (pixels.astype(np.float32) - np.float32(black)) * np.float32(255 / (white - black))
            pixels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
        table = sweep.streams[frame.modality].table
        return pixels if table is None else self.compounder.remap(pixels, table.index, table.fraction_lateral, table.fraction_axial)

    def _pose(self, sweep: _Sweep, frame: Frame, image: NDArray[np.uint8], step: Step) -> Transform | None:
        if step.image_to_reference is not None or step.center_to_previous is None:
            return step.image_to_reference
        if sweep.pose is None:
            return None
        to_center = image_to_center(image.shape[1], image.shape[0], frame.geometry.spacing_mm)
        previous = sweep.pose @ to_center.inverse()  # CenterToReference of the frame before
        return Transform("PreviousCenter", "Reference", previous.matrix) @ step.center_to_previous @ to_center

    @staticmethod
    def _between(sweep: _Sweep, at_ns: int, pose: Transform, pose_ns: int) -> Transform:
        """ImageToReference of a B-mode image at ``at_ns``, between the last one's pose and ``pose``."""
        span = pose_ns - sweep.pose_ns
        if sweep.pose is None or span <= 0:
            return pose
        return interpolated(sweep.pose, pose, min(max((at_ns - sweep.pose_ns) / span, 0.0), 1.0))

    @staticmethod
    def _on_face(at: Transform, frame: Frame, image: NDArray[np.uint8], bmode: Geometry, bmode_image: NDArray[np.uint8]) -> Transform:
        """``at`` of the B-mode image as the pose of another image from the same transducer face."""
        if frame.geometry == bmode:
            return at
        face_to_bmode = image_to_face(bmode_image.shape[1], bmode.spacing_mm).inverse()
        return at @ face_to_bmode @ image_to_face(image.shape[1], frame.geometry.spacing_mm)

    def _without_pose(self, sweep: _Sweep, frame: Frame) -> list[Message]:
        sweep.counts.unplaced += 1
        sweep.streams[frame.modality].unbroken = False
        if not sweep.posed:
            return []
        sweep.posed = False
        return [self._fault(frame, "POSE_MISSING", f"frame {frame.sequence}: pose {frame.pose_status}")]

    def _put(self, sweep: _Sweep, frame: Frame, image: NDArray[np.uint8], pose: Transform, step: Step, bridged: int = 0) -> list[Message]:
        stream, channel = sweep.streams[frame.modality], CHANNEL_OF[frame.modality]
        valid = stream.table.valid if stream.table else None
        try:
            slots = self.compounder.place(image, pose.matrix, channel=channel, valid=valid, bridge=stream.unbroken)
        except BadPose as wrong:
            sweep.counts.unplaced += 1
            stream.unbroken = False
            return [self._fault(frame, "POSE_REFUSED", str(wrong))]
        except VolumeFull as wrong:
            return self._break(frame, "VOLUME_FULL", str(wrong))
        stream.unbroken = True
        sweep.counts.placed += 1
        at = Pose(
            boot_id=frame.boot_id,
            sweep=frame.sweep,
            sequence=frame.sequence,
            timestamp_ns=frame.timestamp_ns,
            epoch=sweep.epoch,
            image_to_reference=tuple(pose.matrix.ravel().tolist()),
            source=self.motion.name,
            uncertainty=step.uncertainty,
            bridged=bridged,
        )
        if not self._say_bricks:
            return [at]
        coords, intensity, state = self.compounder.bricks(slots, channel)
        bricks = Bricks(
            boot_id=frame.boot_id,
            sweep=frame.sweep,
            sequence=frame.sequence,
            epoch=sweep.epoch,
            channel=channel,
            spacing_mm=self.compounder.settings.spacing_mm,
            timestamp_ns=frame.timestamp_ns,
            received_ns=frame.received_ns,
            coords=coords,
            intensity=intensity,
            state=state,
        )
        return [at, bricks]

    def _break(self, frame: Frame, name: str, detail: str) -> list[Message]:
        """Raise a fault; where the table says that it breaks the sweep, end it."""
        said: list[Message] = [self._fault(frame, name, detail)]
        if FAULTS[name].effect is Effect.BREAK:
            said += [m for m in self.finish(name) if not isinstance(m, FaultRaised)]
        return said

    @staticmethod
    def _fault(frame: Frame, name: str, detail: str) -> FaultRaised:
        return FaultRaised(service="run", name=name, detail=detail, boot_id=frame.boot_id, sweep=frame.sweep, sequence=frame.sequence)


def scan_table(geometry: Geometry) -> ScanTable | None:
    """The look-up of a convex geometry's scan conversion; None for a linear one. Raises BadSector."""
    if geometry.kind == "linear":
        return None
    sector = Sector(
        beams=geometry.width,
        samples=geometry.height,
        radius_start_mm=geometry.radius_start_mm,
        radius_stop_mm=geometry.radius_stop_mm,
        angle_start_deg=geometry.angle_start_deg,
        angle_stop_deg=geometry.angle_stop_deg,
    )
    return ScanTable(sector, geometry.spacing_mm[0])


def placed_size(geometry: Geometry) -> tuple[int, int]:
    """(columns, rows) of the image that is placed: a convex one after scan conversion. Raises BadSector."""
    table = scan_table(geometry)
    return (geometry.width, geometry.height) if table is None else (table.valid.shape[1], table.valid.shape[0])
