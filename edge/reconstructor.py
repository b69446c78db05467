"""The heart: takes one frame, answers with what there is to say about it. No socket, clock, thread or file.

The live service, the offline command, replay and every test drive this class, so a sweep gives the same volume on every way.

1. Is the frame the next one of its sweep? Losses are counted; too many end the sweep where poses are relative.
2. Where is it? The motion source answers; a photoacoustic frame without a tracker lies between its B-mode neighbours.
3. Place it, and say which bricks changed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.compounding import CHANNELS as CHANNEL_NAMES
from edge.compounding import FILLED, BadPose, Compounder, VolumeFull
from edge.compounding.image import Image
from edge.compounding.scan_conversion import BadSector
from edge.config import Direction
from edge.faults import FAULTS, Effect
from edge.files.volumes import Volume
from edge.finished_volumes import finished_volumes
from edge.messages import Bricks, FaultRaised, Frame, Message, Pose, SweepEnded
from edge.motion import MotionFailed, MotionSource, Step, turned
from edge.motion.recorded import provenance
from edge.placement import between, impossible_jump, on_face, pose_of
from edge.sweep_state import Counts, Stream, SweepState, scan_table
from edge.transform import Transform

MAX_BRIDGED_FRAMES = 3  # speckle is decorrelated by then, and a relative pose chain is broken for good
UNCONFIRMED = ("unverified", "unknown")
MAX_WAITING_FRAMES = 64  # photoacoustic ones, for the next B-mode frame
FILLED_BRICKS_PER_MESSAGE = 2048
CHANNEL_OF = {"bmode": 0, "photoacoustic": 1}


class Reconstructor:
    """Frames of one sweep after another in, messages out. Owns neither ``motion`` nor ``compounder``; one thread.

    ``say_bricks`` False leaves the changed bricks unsaid: nobody watches an offline reconstruction. ``epoch`` is that of the
    volume before the first: a process that starts again must not repeat one that clients have heard.
    """

    def __init__(
        self,
        motion: MotionSource,
        compounder: Compounder,
        *,
        direction: Direction = "",
        fill_holes: bool = False,
        say_bricks: bool = True,
        epoch: int = 0,
    ) -> None:
        self.motion = motion
        self.compounder = compounder
        self.direction: str = (direction or "+") if motion.relative else "tracked"
        self.direction_source = ("preset" if direction else "unverified") if motion.relative else "tracked"
        self._fill_holes = fill_holes
        self._say_bricks = say_bricks
        self._sweep: SweepState | None = None
        self._epoch = epoch

    @property
    def counts(self) -> Counts:
        """Of the current or the last sweep."""
        return self._sweep.counts if self._sweep else Counts()

    @property
    def sweeping(self) -> bool:
        """A sweep is open."""
        return self._sweep is not None and not self._sweep.ended

    @property
    def ended(self) -> str:
        """Why the last sweep ended: ``last``, ``stopped`` or a fault's name; ``not yet`` while it runs."""
        return self._sweep.reason if self._sweep and self._sweep.ended else "not yet"

    def aim(self, direction: Direction, direction_source: str = "preset") -> None:
        """How the next sweep is meant, instead of what was said before. Not while one runs. Recorded poses know their own direction."""
        assert not self.sweeping
        self._sweep = None
        if self.motion.relative:
            self.motion = turned(self.motion, direction)
            self.direction, self.direction_source = direction or "+", direction_source if direction else "unverified"

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
        said += self._fill(sweep) if self._fill_holes else []
        sweep.ended, sweep.reason = True, reason
        (boot_id, number), counts = sweep.key, sweep.counts
        ended = SweepEnded(
            service="run",
            boot_id=boot_id,
            sweep=number,
            reason=reason,
            frames=counts.frames,
            placed=counts.placed,
            lost=counts.lost,
            motion=self.motion.name,
            direction=self.direction,
            direction_source=self.direction_source,
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
            "ended": self.ended,
        }
        return finished_volumes(self.compounder, metadata)

    def _begin(self, frame: Frame) -> list[Message]:
        said: list[Message] = []
        if self.sweeping and self._sweep is not None:
            said += self.finish("PROBE_RESTARTED" if frame.boot_id != self._sweep.key[0] else "next")
        self._epoch += 1
        self.compounder.reset()
        self._sweep = SweepState(frame.sweep_key, self._epoch)
        if not self.motion.relative:
            _, self.direction, self.direction_source = provenance(frame)
        if frame.sequence > 0:
            self._sweep.last_sequence = frame.sequence - 1
            self._sweep.counts.lost = frame.sequence
            said.append(self._fault(frame, "SWEEP_JOINED_LATE", f"the first frame seen is number {frame.sequence}"))
        if self.direction_source in UNCONFIRMED:
            said.append(self._fault(frame, "DIRECTION_UNVERIFIED", f"taken as {self.direction}"))
        return said

    def _account(self, sweep: SweepState, frame: Frame, lost: int) -> list[Message]:
        """Continuity and geometry; answers the faults."""
        said: list[Message] = []
        sweep.last_sequence, sweep.last_frame = frame.sequence, frame
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
                sweep.streams[frame.modality] = Stream(frame.geometry, scan_table(frame.geometry))
            except BadSector as wrong:
                return [*said, *self._break(frame, "GEOMETRY_REFUSED", str(wrong))]
        elif stream_before.geometry != frame.geometry:
            return [*said, *self._break(frame, "GEOMETRY_CHANGED", f"at frame {frame.sequence}")]
        return said

    def _place(self, sweep: SweepState, frame: Frame) -> list[Message]:
        table = sweep.streams[frame.modality].table
        try:
            image = self.compounder.image(frame.pixels, frame.sample_range, table.look_up if table else None)
        except VolumeFull as wrong:
            return self._break(frame, "VOLUME_FULL", str(wrong))
        if frame.modality == "photoacoustic" and self.motion.relative:
            sweep.waiting.append((frame, image))
            return self._without_pose(sweep, sweep.waiting.popleft()[0]) if len(sweep.waiting) > MAX_WAITING_FRAMES else []
        first = frame.modality == "bmode" and sweep.pose is None
        try:
            step = self.motion.start(frame, image) if first else self.motion.step(frame, image, 1 + sweep.lost_since_pose)
        except MotionFailed as wrong:
            return self._break(frame, "NETWORK_FAILED", str(wrong))
        except VolumeFull as wrong:  # a GPU's memory has no room for the network's window
            return self._break(frame, "VOLUME_FULL", str(wrong))
        pose = pose_of(sweep, frame, image, step)
        if pose is None:
            return self._without_pose(sweep, frame)
        said: list[Message] = []
        if frame.modality == "bmode":
            for waiting, pixels in sweep.waiting:
                at = between(sweep, waiting.timestamp_ns, pose, frame.timestamp_ns)
                said += self._put(sweep, waiting, pixels, on_face(at, waiting, pixels, frame.geometry, image), Step())
            sweep.waiting.clear()
            said += self._put(sweep, frame, image, pose, step, sweep.lost_since_pose)
            sweep.pose, sweep.pose_ns = pose, frame.timestamp_ns
            sweep.lost_since_pose = 0
            return said
        return self._put(sweep, frame, image, pose, step)

    def _without_pose(self, sweep: SweepState, frame: Frame, name: str = "POSE_MISSING", detail: str = "") -> list[Message]:
        """A frame that is not placed is counted; the fault is told once until the next one that is."""
        sweep.counts.unplaced += 1
        sweep.streams[frame.modality].unbroken = False
        if not sweep.posed:
            return []
        sweep.posed = False
        return [self._fault(frame, name, detail or f"frame {frame.sequence}: pose {frame.pose_status}")]

    def _put(self, sweep: SweepState, frame: Frame, image: Image, pose: Transform, step: Step, bridged: int = 0) -> list[Message]:
        stream, channel = sweep.streams[frame.modality], CHANNEL_OF[frame.modality]
        valid = stream.table.valid if stream.table else None
        if jump := impossible_jump(sweep, frame, pose):
            return self._without_pose(sweep, frame, "POSE_REFUSED", jump)
        try:
            slots = self.compounder.place(image, pose.matrix, channel=channel, valid=valid, bridge=stream.unbroken)
        except BadPose as wrong:
            return self._without_pose(sweep, frame, "POSE_REFUSED", str(wrong))
        except VolumeFull as wrong:
            return self._break(frame, "VOLUME_FULL", str(wrong))
        stream.unbroken = True
        sweep.counts.placed += 1
        sweep.placed_at_mm, sweep.placed_ns, sweep.posed = pose.matrix[:3, 3], frame.timestamp_ns, True
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
        return [at, self._bricks(sweep, frame, slots, channel)] if self._say_bricks else [at]

    def _bricks(self, sweep: SweepState, frame: Frame, slots: NDArray[np.int32], channel: int) -> Bricks:
        coords, intensity, state = self.compounder.bricks(slots, channel)
        return Bricks(
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

    def _fill(self, sweep: SweepState) -> list[Message]:
        """Fill holes in all channels; clients hear of every brick that holds a filled voxel."""
        said: list[Message] = []
        for channel in range(len(CHANNEL_NAMES)):
            filled = self.compounder.fill_holes(channel)
            slots = self.compounder.slots(channel) if filled and self._say_bricks and sweep.last_frame else np.zeros(0, np.int32)
            for first in range(0, len(slots), FILLED_BRICKS_PER_MESSAGE):
                some = slots[first : first + FILLED_BRICKS_PER_MESSAGE]
                changed = some[(self.compounder.bricks(some, channel).state == FILLED).any(axis=(1, 2, 3))]
                if len(changed) and sweep.last_frame:
                    said.append(self._bricks(sweep, sweep.last_frame, changed, channel))
        return said

    def _break(self, frame: Frame, name: str, detail: str) -> list[Message]:
        """Raise a fault; where the table says that it breaks the sweep, end it."""
        said: list[Message] = [self._fault(frame, name, detail)]
        if FAULTS[name].effect is Effect.BREAK:
            said += [m for m in self.finish(name) if not isinstance(m, FaultRaised)]
        return said

    @staticmethod
    def _fault(frame: Frame, name: str, detail: str) -> FaultRaised:
        return FaultRaised(service="run", name=name, detail=detail, boot_id=frame.boot_id, sweep=frame.sweep, sequence=frame.sequence)
