"""Messages survive the wire bit for bit; everything else is refused by name."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.messages import (
    TYPES,
    BadGeometry,
    Bricks,
    FaultRaised,
    Frame,
    Geometry,
    ImuSample,
    MalformedMessage,
    Status,
    decode,
    encode,
)

GEOMETRY = Geometry(width=4, height=3, spacing_mm=(0.2, 0.25))


def a_frame(**changes):
    frame = Frame(boot_id=7, sweep=1, sequence=2, timestamp_ns=3, geometry=GEOMETRY, pixels=np.arange(12, dtype=np.uint8).reshape(3, 4))
    return msgspec.structs.replace(frame, **changes)


def same(a, b):
    fields = msgspec.structs.fields(type(a))
    return type(a) is type(b) and all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name)) and getattr(a, f.name).dtype == getattr(b, f.name).dtype
        if isinstance(getattr(a, f.name), np.ndarray)
        else getattr(a, f.name) == getattr(b, f.name)
        for f in fields
    )


@given(pose=st.lists(st.floats(-1e6, 1e6), min_size=16, max_size=16), dtype=st.sampled_from([np.uint8, np.uint16]))
def test_a_frame_arrives_as_it_was_sent(pose, dtype):
    imu = ImuSample(timestamp_ns=5, acceleration_m_s2=(0.1, 9.81, 0), angular_velocity_rad_s=(0, 0, 0))
    frame = a_frame(image_to_reference=tuple(pose), pose_status="ok", pixels=np.full((3, 4), 200, dtype))
    frame = msgspec.structs.replace(frame, extras=msgspec.structs.replace(frame.extras, imu=(imu,), unknown=((9, b"xy"),)))
    assert same(decode([bytes(part) for part in encode(frame)]), frame)


def test_three_arrays_keep_their_order():
    n = 5
    bricks = Bricks(
        boot_id=1, sweep=1, sequence=1, epoch=1, channel=0, channel_name="ultrasound", spacing_mm=0.5, timestamp_ns=0, received_ns=0,
        coords=np.arange(3 * n, dtype=np.int32).reshape(n, 3),
        intensity=np.full((n, 8, 8, 8), 3, np.uint8),
        state=np.full((n, 8, 8, 8), 1, np.uint8),
    )  # fmt: skip
    assert same(decode(encode(bricks)), bricks)


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_noise_is_refused_by_name(parts):
    with pytest.raises(MalformedMessage):
        decode(parts)


@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=40), st.lists(st.binary(max_size=30), max_size=3))
def test_noise_behind_a_known_topic_is_refused_by_name(topic, head, arrays):
    with pytest.raises(MalformedMessage):
        decode([topic.encode(), head, *arrays])


def test_an_array_of_the_wrong_length_is_refused():
    topic, head, pixels = encode(a_frame())
    for wrong in (bytes(pixels)[:-1], bytes(pixels) + b"x", b""):
        with pytest.raises(MalformedMessage):
            decode([topic, head, wrong])
    with pytest.raises(MalformedMessage, match="parts too many"):
        decode([topic, head, pixels, pixels])


def test_an_unknown_field_is_refused():
    head = msgspec.msgpack.encode({"service": "run", "name": "FRAMES_LOST", "colour": "red"})
    with pytest.raises(MalformedMessage, match="colour"):
        decode([FaultRaised.topic.encode(), head])


def test_object_arrays_never_travel():
    topic, head, pixels = encode(a_frame())
    with pytest.raises(MalformedMessage, match="not allowed"):
        decode([topic, bytes(head).replace(b"|u1", b"|O8"), pixels])


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 1}, {"height": 5000}, {"spacing_mm": (0.0, 0.2)}, {"spacing_mm": (float("nan"), 0.2)}, {"depth_mm": -1},
        {"kind": "convex"}, {"kind": "convex", "spacing_mm": (0.2, 0.2), "radius_start_mm": 50, "radius_stop_mm": 40},
        {"kind": "convex", "spacing_mm": (0.2, 0.2), "radius_start_mm": 40, "radius_stop_mm": 50,
         "angle_start_deg": 30, "angle_stop_deg": -30},
    ],
    ids=str,
)  # fmt: skip
def test_an_impossible_geometry_is_refused(changes):
    with pytest.raises(BadGeometry):
        msgspec.structs.replace(GEOMETRY, **changes).check()


def test_a_status_carries_its_latencies():
    status = Status(service="run", state="idle", counts={"frames": 3}, latency_ms={"queue": (1.0, 2.0, 3.0)})
    assert decode(encode(status)) == status
