"""The heart: takes one frame, answers with what there is to say about it. No socket, clock, thread or file.

The live service, the offline command, replay and every test drive this class, so a sweep gives the same volume on every way.

1. Is the frame the next one of its sweep? Losses are counted; too many end the sweep where poses are relative.
2. Where is it? The motion source answers; a photoacoustic frame without a pose of its own waits for the next B-mode frame, and lies
   between its two B-mode neighbours at its time.
3. Place it, and say which bricks changed.
"""

from __future__ import annotations

from edge.compounding import BadPose, Compounder, VolumeFull
from edge.compounding.image import Image
from edge.config import Direction
from edge.faults import FAULTS, Effect
from edge.files.volumes import Volume
from edge.finished_volumes import filled, finished_volumes
from edge.light import Light
from edge.messages import FaultRaised, Frame, Message
from edge.motion import MotionFailed, MotionSource, Step, turned
from edge.motion.recorded import provenance
from edge.placement import between, impossible, on_face, pose_of
from edge.said import bricks_of_frame, end_of, fault, pose_of_frame
from edge.sweep_state import Counts, SweepState
from edge.transform import Transform

MAX_BRIDGED_FRAMES = 3  # speckle is decorrelated by then, and a relative pose chain is broken for good
UNCONFIRMED = ("unverified", "unknown")
MAX_WAITING_FRAMES = 64  # photoacoustic ones, for the next B-mode frame


class Reconstructor:
    """Frames of one sweep after another in, messages out. Owns neither ``motion`` nor ``compounder``; one thread.

    ``say_bricks`` False leaves the changed bricks unsaid: nobody watches an offline reconstruction. ``epoch`` is that of the
    volume before the first: a process that starts again must not repeat one that clients have heard. ``pulse_energy_mj``: see ``Light``.
    ``over`` is the key of the last sweep that has ended: what still comes of it is ignored. None lets it be built again.
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
        pulse_energy_mj: float = 0.0,
    ) -> None:
        self.motion = motion
        self.compounder = compounder
        self.direction: str = (direction or "+") if motion.relative else "tracked"
        self.direction_source = ("preset" if direction else "unverified") if motion.relative else "tracked"
        self.over: tuple[int, int] | None = None
        self._fill_holes = fill_holes
        self._say_bricks = say_bricks
        self._sweep: SweepState | None = None
        self._epoch = epoch
        self._pulse_energy_mj = Light(pulse_energy_mj).pulse_energy_mj

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
        if frame.sweep_key == self.over:
            self.counts.ignored += 1
            return said
        if self._sweep is None or frame.sweep_key != self._sweep.key:
            said += self._begin(frame)
        sweep = self._sweep
        assert sweep is not None
        lost = frame.sequence - sweep.last_sequence - 1
        if lost < 0:
            sweep.counts.ignored += 1
            return [*said, fault(frame, "FRAME_REPEATED", f"frame {frame.sequence} after frame {sweep.last_sequence}")]
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
        said += self._place_rest(sweep, held=reason not in FAULTS)
        if sweep.ended:  # the volume had no room for the rest
            return said
        said += self._fill(sweep) if self._fill_holes else []
        sweep.ended, sweep.reason, self.over = True, reason, sweep.key
        return [*said, end_of(sweep, self.motion.name, self.direction, self.direction_source)]

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
        } | (self._sweep.metadata() if self._sweep else {})
        return finished_volumes(self.compounder, metadata, self._sweep.light.metadata() if self._sweep else {})

    def _begin(self, frame: Frame) -> list[Message]:
        said: list[Message] = []
        if self.sweeping and self._sweep is not None:
            said += self.finish("PROBE_RESTARTED" if frame.boot_id != self._sweep.key[0] else "next")
        self._epoch += 1
        self.compounder.reset()
        self._sweep = SweepState.begun_by(frame, self._epoch, Light(self._pulse_energy_mj))
        if not self.motion.relative:
            _, self.direction, self.direction_source = provenance(frame)
        if frame.sequence > 0:
            self._sweep.last_sequence = frame.sequence - 1
            self._sweep.counts.lost = frame.sequence
            said.append(fault(frame, "SWEEP_JOINED_LATE", f"the first frame seen is number {frame.sequence}"))
        if self.direction_source in UNCONFIRMED:
            said.append(fault(frame, "DIRECTION_UNVERIFIED", f"taken as {self.direction}"))
        return said

    def _account(self, sweep: SweepState, frame: Frame, lost: int) -> list[Message]:
        """Continuity and geometry; answers the faults."""
        said: list[Message] = []
        sweep.last_sequence, sweep.last_frame = frame.sequence, frame
        sweep.counts.lost += lost
        sweep.lost_since_pose += lost
        sweep.elapsed = sweep.cadence.elapsed(frame, lost)
        missing = max(lost, sweep.elapsed - 1)  # light may lie between the losses
        if missing > MAX_BRIDGED_FRAMES and self.motion.relative:
            return self._break(frame, "FRAMES_LOST", f"{missing} before frame {frame.sequence}")
        sweep.neighbour_missing |= missing > MAX_BRIDGED_FRAMES
        if lost:
            for stream in sweep.streams.values():
                stream.unbroken = False
            said.append(fault(frame, "FRAMES_BRIDGED", f"{lost} before frame {frame.sequence}"))
        if misfit := sweep.misfit(frame):
            said += self._break(frame, *misfit)
        return said

    def _place(self, sweep: SweepState, frame: Frame) -> list[Message]:
        channel = sweep.light.channel(frame)
        if channel is None:
            sweep.counts.unplaced += 1
            return [fault(frame, "WAVELENGTHS_TOO_MANY", f"{frame.wavelength_nm:g} nm")] if sweep.light.refuse(frame) else []
        table = sweep.streams[channel].table
        try:
            image = self.compounder.image(frame.pixels, sweep.light.sample_range(frame), table.look_up if table else None)
        except VolumeFull as wrong:
            return self._break(frame, "VOLUME_FULL", str(wrong))
        if frame.modality == "photoacoustic" and self.motion.relative:
            return self._wait(sweep, frame, image)
        first = frame.modality == "bmode" and sweep.pose is None
        try:
            step = self.motion.start(frame, image) if first else self.motion.step(frame, image, max(sweep.elapsed, 1))
        except MotionFailed as wrong:
            return self._break(frame, "NETWORK_FAILED", str(wrong))
        except VolumeFull as wrong:  # a GPU's memory has no room for the network's window
            return self._break(frame, "VOLUME_FULL", str(wrong))
        pose = pose_of(sweep, frame, image, step)
        if frame.modality == "photoacoustic":
            return self._put(sweep, frame, image, pose, step) if pose is not None else self._wait(sweep, frame, image)
        if pose is None:
            sweep.neighbour_missing = True
            return self._place_rest(sweep, held=False) + self._without_pose(sweep, frame)
        if why := impossible(sweep, frame, pose):  # before light is placed on the way to it
            sweep.neighbour_missing = True
            return self._without_pose(sweep, frame, "POSE_REFUSED", why) + self._place_rest(sweep, held=False)
        said = self._place_rest(sweep, held=False) if sweep.neighbour_missing else self._place_between(sweep, frame, image, pose)
        if sweep.ended:
            return said
        said += self._put(sweep, frame, image, pose, step, sweep.lost_since_pose)
        if not sweep.posed:
            sweep.neighbour_missing = True
            return said
        sweep.pose_interval_ns = frame.timestamp_ns - sweep.pose_ns if sweep.pose is not None else 0
        sweep.pose, sweep.pose_ns, sweep.pose_geometry = pose, frame.timestamp_ns, (frame.geometry, image.shape[1])
        sweep.lost_since_pose, sweep.neighbour_missing = 0, False
        return said

    def _wait(self, sweep: SweepState, frame: Frame, image: Image) -> list[Message]:
        """For the next B-mode frame."""
        sweep.waiting.append((frame, image))
        return self._without_pose(sweep, sweep.waiting.popleft()[0]) if len(sweep.waiting) > MAX_WAITING_FRAMES else []

    def _place_between(self, sweep: SweepState, bmode: Frame, bmode_image: Image, pose: Transform) -> list[Message]:
        """The frames that waited, between the last B-mode pose and this one; before the first, at this one, which is said."""
        said: list[Message] = []
        if sweep.waiting and sweep.pose is None:
            said.append(fault(bmode, "POSE_HELD", f"{len(sweep.waiting)} before the first ultrasound image"))
        while sweep.waiting and not sweep.ended:
            frame, image = sweep.waiting.popleft()
            at = between(sweep, frame.timestamp_ns, pose, bmode.timestamp_ns)
            said += self._put(sweep, frame, image, on_face(at, frame, image, bmode.geometry, bmode_image.shape[1]))
        return said

    def _place_rest(self, sweep: SweepState, held: bool) -> list[Message]:
        """The frames that waited in vain. ``held``: at the last B-mode pose, where it is no older than B-mode frames lie apart."""
        said: list[Message] = []
        while sweep.waiting and not sweep.ended:
            frame, image = sweep.waiting.popleft()
            near = held and not sweep.neighbour_missing and frame.timestamp_ns - sweep.pose_ns <= sweep.pose_interval_ns
            if not near or sweep.pose is None or sweep.pose_geometry is None:
                said += self._without_pose(sweep, frame)
                continue
            said.append(fault(frame, "POSE_HELD", f"frame {frame.sequence}: no ultrasound image followed"))
            said += self._put(sweep, frame, image, on_face(sweep.pose, frame, image, *sweep.pose_geometry))
        return said

    def _without_pose(self, sweep: SweepState, frame: Frame, name: str = "POSE_MISSING", detail: str = "") -> list[Message]:
        """A frame that is not placed is counted; the fault is told once until the next one that is."""
        sweep.counts.unplaced += 1
        channel = sweep.light.channel(frame)
        if channel is not None:
            sweep.streams[channel].unbroken = False
        if not sweep.posed:
            return []
        sweep.posed = False
        return [fault(frame, name, detail or f"frame {frame.sequence}: pose {frame.pose_status}")]

    def _put(
        self, sweep: SweepState, frame: Frame, image: Image, pose: Transform | None, step: Step | None = None, bridged: int = 0
    ) -> list[Message]:
        channel = sweep.light.channel(frame)
        assert channel is not None
        stream = sweep.streams[channel]
        valid = stream.table.valid if stream.table else None
        if pose is None:
            return self._without_pose(sweep, frame, "POSE_REFUSED", f"frame {frame.sequence}: a convex and a linear image share no face")
        if why := impossible(sweep, frame, pose):
            return self._without_pose(sweep, frame, "POSE_REFUSED", why)
        try:
            slots = self.compounder.place(image, pose.matrix, channel=channel, valid=valid, bridge=stream.unbroken)
        except BadPose as wrong:
            return self._without_pose(sweep, frame, "POSE_REFUSED", str(wrong))
        except VolumeFull as wrong:
            return self._break(frame, "VOLUME_FULL", str(wrong))
        stream.unbroken = True
        sweep.note_placed(frame, pose, image.shape[1])
        at = pose_of_frame(sweep, frame, pose, self.motion.name, step, bridged)
        return [at, bricks_of_frame(self.compounder, sweep, frame, slots, channel)] if self._say_bricks else [at]

    def _fill(self, sweep: SweepState) -> list[Message]:
        """Fill holes in all channels; clients hear of every brick that holds a filled voxel. Without memory for it they stay, said."""
        said: list[Message] = []
        for channel, name in enumerate(sweep.light.names):
            try:
                for changed in filled(self.compounder, channel):
                    if self._say_bricks and sweep.last_frame:
                        said.append(bricks_of_frame(self.compounder, sweep, sweep.last_frame, changed, channel))
            except VolumeFull as wrong:
                assert sweep.last_frame is not None
                said.append(fault(sweep.last_frame, "HOLES_NOT_FILLED", f"{name}: {wrong}"))
        return said

    def _break(self, frame: Frame, name: str, detail: str) -> list[Message]:
        """Raise a fault; where the table says that it breaks the sweep, end it."""
        said: list[Message] = [fault(frame, name, detail)]
        if FAULTS[name].effect is Effect.BREAK:
            said += [m for m in self.finish(name) if not (isinstance(m, FaultRaised) and m.name == name)]
        return said
