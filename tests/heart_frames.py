"""Small tracked frames for the heart, and what it says of them."""

import msgspec
import numpy as np

from edge.messages import FaultRaised, Frame, Geometry, Pose

GEOMETRY = Geometry(width=60, height=50, spacing_mm=(0.2, 0.2))
RNG = np.random.default_rng(5)
TEXTURE = RNG.integers(20, 230, (50, 60), dtype=np.uint8)


def a_frame(sequence, *, z_mm=None, geometry=GEOMETRY, **changes):
    pose = np.diag([*geometry.spacing_mm, 1.0, 1.0])
    pose[2, 3] = 0.4 * sequence if z_mm is None else z_mm
    frame = Frame(
        boot_id=1, sweep=1, sequence=sequence, timestamp_ns=50_000_000 * sequence, geometry=geometry,
        pose_status="ok", image_to_reference=tuple(pose.ravel().tolist()), pixels=np.roll(TEXTURE, sequence, axis=1),
    )  # fmt: skip
    return msgspec.structs.replace(frame, **changes)


def feed(reconstructor, *frames):
    return [message for frame in frames for message in reconstructor.feed(frame)]


def names(messages):
    return [message.name for message in messages if isinstance(message, FaultRaised)]


def poses(messages):
    return {m.sequence: np.reshape(m.image_to_reference, (4, 4)) for m in messages if isinstance(m, Pose)}
