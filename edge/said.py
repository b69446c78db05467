"""The reconstructor's messages, made of what it knows: pure wording."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.compounding import Compounder
from edge.messages import Bricks, FaultRaised, Frame, Pose, SweepEnded
from edge.motion import Step
from edge.sweep_state import SweepState
from edge.transform import Transform


def fault(frame: Frame, name: str, detail: str) -> FaultRaised:
    """A fault of the table, at ``frame``."""
    return FaultRaised(service="run", name=name, detail=detail, boot_id=frame.boot_id, sweep=frame.sweep, sequence=frame.sequence)


def pose_of_frame(sweep: SweepState, frame: Frame, pose: Transform, source: str, step: Step, bridged: int) -> Pose:
    """Where ``frame`` was placed, and by what."""
    return Pose(
        boot_id=frame.boot_id,
        sweep=frame.sweep,
        sequence=frame.sequence,
        timestamp_ns=frame.timestamp_ns,
        epoch=sweep.epoch,
        image_to_reference=tuple(pose.matrix.ravel().tolist()),
        source=source,
        uncertainty=step.uncertainty,
        bridged=bridged,
    )


def bricks_of_frame(compounder: Compounder, sweep: SweepState, frame: Frame, slots: NDArray[np.int32], channel: int) -> Bricks:
    """The bricks at ``slots`` as they are now, changed by ``frame``."""
    coords, intensity, state = compounder.bricks(slots, channel)
    return Bricks(
        boot_id=frame.boot_id,
        sweep=frame.sweep,
        sequence=frame.sequence,
        epoch=sweep.epoch,
        channel=channel,
        name=sweep.light.names[channel],
        spacing_mm=compounder.settings.spacing_mm,
        timestamp_ns=frame.timestamp_ns,
        received_ns=frame.received_ns,
        coords=coords,
        intensity=intensity,
        state=state,
    )


def end_of(sweep: SweepState, motion: str, direction: str, direction_source: str) -> SweepEnded:
    """The end of ``sweep``, whose ``reason`` is set."""
    (boot_id, number), counts = sweep.key, sweep.counts
    return SweepEnded(
        service="run",
        boot_id=boot_id,
        sweep=number,
        reason=sweep.reason,
        frames=counts.frames,
        placed=counts.placed,
        lost=counts.lost,
        motion=motion,
        direction=direction,
        direction_source=direction_source,
    )
