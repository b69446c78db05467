"""Small sweeps for the tests of files: frames with noise, poses and everything else a frame may carry."""

from __future__ import annotations

import numpy as np

from edge.messages import Extras, Frame, Geometry, ImuSample
from edge.transform import Transform

GEOMETRY = Geometry(width=24, height=16, spacing_mm=(0.1, 0.2), depth_mm=40.0)


def frame(sequence: int, **changes) -> Frame:
    """A tracked 24 x 16 frame whose pose has no round number in it."""
    noise = np.random.default_rng(sequence)
    geometry = changes.get("geometry", GEOMETRY)
    matrix = np.eye(4)
    matrix[:3] = noise.normal(size=(3, 4)) / 3
    matrix[:3, 0] *= 0.1 / np.linalg.norm(matrix[:3, 0])
    matrix[:3, 1] *= 0.2 / np.linalg.norm(matrix[:3, 1])
    values = {
        "boot_id": 0xABCDEF0123456789,
        "sweep": 3,
        "sequence": sequence,
        "timestamp_ns": 1_700_000_000_123_456_789 + sequence * 50_000_001,
        "received_ns": 77_000_000_000 + sequence * 50_000_003,
        "clock_offset_ns": -5 - sequence,
        "geometry": geometry,
        "pose_status": "ok",
        "image_to_reference": tuple(matrix.ravel().tolist()),
        "pixels": noise.integers(0, 255, (geometry.height, geometry.width), dtype=np.uint8),
    }
    return Frame(**(values | changes))


def rich_extras() -> Extras:
    """More of them than fit a header line of PLUS."""
    sample = ImuSample(timestamp_ns=123456789, acceleration_m_s2=(0.1, 0.2, 9.81), angular_velocity_rad_s=(1 / 3, 0.0, -1.0))
    return Extras(imu=(sample,) * 20, mechanical_index=0.7, focus_mm=(20.0, 30.0), unknown=((900, b"\x00\xff"),))


def same(one: Frame, other: Frame, *, but: tuple[str, ...] = ()) -> bool:
    """Equal in every field, bit for bit."""
    return all(
        np.array_equal(one.pixels, other.pixels) and one.pixels.dtype == other.pixels.dtype
        if name == "pixels"
        else getattr(one, name) == getattr(other, name)
        for name in one.__struct_fields__
        if name not in but
    )


def poses_of(frames: list[Frame]) -> list[Transform | None]:
    """Their poses."""
    return [one.pose for one in frames]
