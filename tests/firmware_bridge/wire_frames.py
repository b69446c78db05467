"""Frames for the tests of the wire: of every kind, small, and drawn at random."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from edge.messages import Extras, Frame, Geometry, ImuSample
from edge.transform import Transform, motion

CONVEX = Geometry(
    kind="convex",
    width=16,
    height=24,
    spacing_mm=(0.5, 0.5),
    depth_mm=60,
    radius_start_mm=40,
    radius_stop_mm=100,
    angle_start_deg=-30,
    angle_stop_deg=30,
)


ESTIMATED = {"pose_source": "network: klein-ä", "pose_direction": "-", "pose_direction_source": "preset"}


def linear_frame(sequence: int = 0, *, width: int = 12, height: int = 10, sweep: int = 0, boot_id: int = 1, **changes: Any) -> Frame:
    """A tracked B-mode frame whose pixels are numbered, ``sequence`` included."""
    pixels = (np.arange(width * height, dtype=np.uint32) + 7 * sequence).astype(np.uint8).reshape(height, width)
    pose = np.diag([0.2, 0.1, 1.0, 1.0])
    pose[2, 3] = 0.3 * sequence
    given: dict[str, Any] = {
        "timestamp_ns": 1_000_000_000 + 16_000_000 * sequence,
        "geometry": Geometry(width=width, height=height, spacing_mm=(0.2, 0.1), depth_mm=height * 0.1),
        "pose_status": "ok",
        "image_to_reference": tuple(pose.ravel().tolist()),
        "pixels": pixels,
    }
    return Frame(boot_id=boot_id, sweep=sweep, sequence=sequence, **(given | changes))


def convex_frame() -> Frame:
    """Beams x samples, with the pose of the scan-converted image."""
    pixels = np.arange(16 * 24, dtype=np.uint16).astype(np.uint8).reshape(24, 16)
    pose = tuple(np.diag([0.5, 0.5, 0.5, 1.0]).ravel().tolist())
    return linear_frame(geometry=CONVEX, pixels=pixels, image_to_reference=pose)


def photoacoustic_frame() -> Frame:
    """uint16 samples, a wavelength, every extension, no pose."""
    extras = Extras(
        imu=(
            ImuSample(timestamp_ns=5, acceleration_m_s2=(0.5, 0.0, 9.75), angular_velocity_rad_s=(0.0, 1.0, -2.0)),
            ImuSample(
                timestamp_ns=6,
                acceleration_m_s2=(0.5, 0.0, 9.75),
                angular_velocity_rad_s=(0.0, 1.0, -2.0),
                magnetic_field_ut=(20.0, 0.0, -44.0),
            ),
        ),
        mechanical_index=0.7,
        thermal_index=0.4,
        focus_mm=(20.0, 35.5),
        laser_energy_mj=12.5,
        unknown=((0x8001, b"vendor"), (77, b"")),
    )
    pixels = (np.arange(120, dtype="<u2") * 500).reshape(10, 12)
    return linear_frame(
        modality="photoacoustic",
        wavelength_nm=800.0,
        sample_range=(0.0, 60000.0),
        pixels=pixels,
        pose_status="missing",
        image_to_reference=None,
        extras=extras,
    )


def same(a: Frame, b: Frame) -> bool:
    """Equal in every field, pixels bit for bit."""
    one, other = (msgspec.structs.asdict(frame) for frame in (a, b))
    x, y = one.pop("pixels"), other.pop("pixels")
    return one == other and x.dtype == y.dtype and np.array_equal(x, y)


_whole = st.integers(0, 2**63 - 1)
_single = st.floats(-1e6, 1e6, width=32)
_vector = st.tuples(_single, _single, _single)
_index = st.none() | st.floats(0, 100)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Any frame that the wire may carry."""
    kind = draw(st.sampled_from(("linear", "convex")))
    width, height = draw(st.integers(2, 20)), draw(st.integers(2, 20))
    lateral = draw(st.floats(0.1, 10))
    sector = {}
    if kind == "convex":
        lateral = draw(st.floats(0.1, 0.5))
        start, low = draw(st.floats(1, 100)), draw(st.floats(-80, 40))
        sector = {
            "radius_start_mm": start,
            "radius_stop_mm": start + draw(st.floats(5, 50)),
            "angle_start_deg": low,
            "angle_stop_deg": low + draw(st.floats(10, 40)),
        }
    spacing = (lateral, lateral if kind == "convex" else draw(st.floats(0.001, 10)))
    dtype = draw(st.sampled_from(("|u1", "<u2")))
    modality = draw(st.sampled_from(("bmode", "photoacoustic")))
    return Frame(
        boot_id=draw(st.integers(0, 2**64 - 1)),
        sweep=draw(st.integers(0, 2**32 - 1)),
        sequence=draw(_whole),
        timestamp_ns=draw(_whole),
        last=draw(st.booleans()),
        modality=modality,
        wavelength_nm=draw(st.just(0.0) | st.floats(100, 20000)) if modality == "photoacoustic" else 0.0,
        geometry=Geometry(kind=kind, width=width, height=height, spacing_mm=spacing, depth_mm=draw(st.floats(0, 1000)), **sector),
        sample_range=draw(st.tuples(st.floats(0, 100), st.floats(101, 255))),
        pixels=np.random.default_rng(draw(_whole)).integers(0, 256 ** int(dtype[-1]), (height, width)).astype(dtype),
        extras=draw(_extras()),
        **draw(st.sampled_from(({}, ESTIMATED))),
        **draw(_poses(spacing)),
    )


@st.composite
def _poses(draw: st.DrawFn, spacing: tuple[float, float]) -> dict[str, Any]:
    status = draw(st.sampled_from(("missing", "ok", "invalid")))
    if status == "missing":
        return {"pose_status": status}
    turn = st.floats(-math.pi, math.pi)
    place = motion(draw(st.tuples(*[st.floats(-1000, 1000)] * 3)), draw(st.tuples(turn, turn, turn)))
    pose = place.matrix @ np.diag([*spacing, 1, 1])
    Transform("Image", "Reference", pose)
    return {"pose_status": status, "image_to_reference": tuple(pose.ravel().tolist())}


@st.composite
def _extras(draw: st.DrawFn) -> Extras:
    sample = st.builds(
        ImuSample,
        timestamp_ns=_whole,
        acceleration_m_s2=_vector,
        angular_velocity_rad_s=_vector,
        magnetic_field_ut=st.none() | _vector,
    )
    return Extras(
        imu=tuple(draw(st.lists(sample, max_size=3))),
        mechanical_index=draw(_index),
        thermal_index=draw(_index),
        laser_energy_mj=draw(_index),
        focus_mm=tuple(draw(st.lists(st.floats(0, 1000), max_size=3))),
        unknown=tuple(draw(st.lists(st.tuples(st.integers(7, 65535), st.binary(max_size=20)), max_size=3))),
    )
