"""The wire: what goes in comes out, and whatever is wrong is refused by its name."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from wire_frames import ESTIMATED, convex_frame, frames, linear_frame, photoacoustic_frame, same

from edge.messages import Extras, Frame, Geometry
from firmware_bridge.errors import (
    BadCrc,
    BadExtension,
    BadField,
    BadMagic,
    BadParts,
    BadPose,
    BadSize,
    MalformedPacket,
    UnsupportedVersion,
)
from firmware_bridge.wire import CODES, HEADER, decode_frame, encode_frame, sealed


def changed(parts: list[Any], **fields: Any) -> list[Any]:
    """``parts`` with header fields overwritten and the checksum made right again."""
    header = np.frombuffer(parts[0], HEADER).copy()
    for name, value in fields.items():
        header[0][name] = value
    return sealed([header.tobytes(), *parts[1:]])


def placed(parts: list[Any], row: int, column: int, value: float) -> list[Any]:
    """``parts`` with one number of the pose overwritten."""
    matrix = np.frombuffer(parts[0], HEADER)[0]["image_to_reference"].copy()
    matrix[4 * row + column] = value
    return changed(parts, image_to_reference=matrix)


@settings(max_examples=150, deadline=None)
@given(frames())
def test_every_frame_arrives_as_it_was_sent(frame: Frame) -> None:
    assert same(decode_frame(encode_frame(frame)), frame)


@pytest.mark.parametrize("frame", [linear_frame(), convex_frame(), photoacoustic_frame()], ids=["linear", "convex", "photoacoustic"])
@pytest.mark.parametrize("orientation", CODES["orientation"])
def test_every_orientation_arrives_as_mf(frame: Frame, orientation: Any) -> None:
    parts = encode_frame(frame, orientation)
    assert same(decode_frame(parts), frame)
    stored = np.frombuffer(parts[2], frame.pixels.dtype).reshape(frame.pixels.shape)
    first = {"MF": (0, 0), "MN": (-1, 0), "UF": (0, -1), "UN": (-1, -1)}[orientation]  # [row, column] in the MF image
    assert stored[0, 0] == frame.pixels[first]


def test_pixels_view_the_bytes_that_arrived_and_cannot_be_written() -> None:
    parts = [bytearray(part) for part in encode_frame(linear_frame())]
    pixels = decode_frame(parts).pixels
    assert not pixels.flags.writeable
    assert np.shares_memory(pixels, np.frombuffer(parts[2], np.uint8))


def test_photoacoustic_samples_travel_little_endian() -> None:
    frame = photoacoustic_frame()
    assert bytes(encode_frame(frame)[2])[2:4] == struct.pack("<H", int(frame.pixels[0, 1]))
    big = frame.pixels.astype(">u2")
    with pytest.raises(BadField, match="little-endian"):
        encode_frame(linear_frame(pixels=big))


def test_an_estimated_pose_does_not_arrive_as_a_tracked_one() -> None:
    assert decode_frame(encode_frame(linear_frame(**ESTIMATED))).pose_origin == ("network: klein-ä", "-", "preset")
    assert decode_frame(encode_frame(linear_frame())).pose_origin == ("", "", "")
    with pytest.raises(BadExtension, match="three lines"):
        encode_frame(linear_frame(pose_source="two\nlines"))


def test_an_unknown_extension_is_kept() -> None:
    extras = Extras(unknown=((0x9000, b"0123456789"), (0x9000, b"")))
    assert decode_frame(encode_frame(linear_frame(extras=extras))).extras == extras


REFUSALS: dict[str, tuple[type[MalformedPacket], Callable[[list[Any]], list[Any]]]] = {
    "no parts": (BadParts, lambda parts: []),
    "four parts": (BadParts, lambda parts: [*parts, b""]),
    "noise": (BadMagic, lambda parts: [b"noise" * 64, b"", b""]),
    "an empty header": (BadSize, lambda parts: [b"", b"", b""]),
    "a byte-swapped magic": (BadMagic, lambda parts: changed(parts, magic=int.from_bytes(b"SSWP", "big"))),
    "another version": (UnsupportedVersion, lambda parts: changed(parts, version=2)),
    "a short header": (BadSize, lambda parts: [parts[0][:-1], *parts[1:]]),
    "a wrong header size": (BadSize, lambda parts: changed(parts, header_size=319)),
    "a short payload": (BadSize, lambda parts: [*parts[:2], parts[2][:-1]]),
    "a payload of another image size": (BadSize, lambda parts: changed(parts, width=24)),
    "no image": (BadSize, lambda parts: changed([*parts[:2], b""], width=0, payload_size=0)),
    "a flipped bit": (BadCrc, lambda parts: [*parts[:2], bytes([parts[2][0] ^ 1]) + bytes(parts[2][1:])]),
    "an unknown flag": (BadField, lambda parts: changed(parts, flags=2)),
    "a reserved byte": (BadField, lambda parts: changed(parts, reserved=[0] * 47 + [1])),
    "an unknown modality": (BadField, lambda parts: changed(parts, modality=0)),
    "an unknown sample type": (BadField, lambda parts: changed(parts, sample_type=3)),
    "an unknown orientation": (BadField, lambda parts: changed(parts, orientation=9)),
    "an unknown geometry": (BadField, lambda parts: changed(parts, geometry=0)),
    "an unknown pose status": (BadField, lambda parts: changed(parts, pose_status=3)),
    "a time beyond 2^63": (BadField, lambda parts: changed(parts, timestamp_ns=2**63)),
    "a spacing that is no number": (BadField, lambda parts: changed(parts, spacing_mm=(np.nan, 0.1))),
    "an infinite depth": (BadField, lambda parts: changed(parts, depth_mm=np.inf)),
    "radii on a linear probe": (BadField, lambda parts: changed(parts, radius_mm=(1, 2))),
    "a convex probe without radii": (BadField, lambda parts: changed(parts, geometry=2, spacing_mm=(0.1, 0.1))),
    "a sample range upside down": (BadField, lambda parts: changed(parts, sample_range=(255, 0))),
    "a wavelength on B-mode": (BadField, lambda parts: changed(parts, wavelength_nm=800)),
    "a missing pose with a matrix": (BadPose, lambda parts: changed(parts, pose_status=0)),
    "a pose without a matrix": (BadPose, lambda parts: changed(parts, image_to_reference=np.zeros(16))),
    "a pose with another scale": (BadPose, lambda parts: placed(parts, 0, 0, 0.3)),
    "a skewed pose": (BadPose, lambda parts: placed(parts, 0, 1, 0.05)),
    "a mirrored pose": (BadPose, lambda parts: placed(parts, 2, 2, -1.0)),
    "a flat pose": (BadPose, lambda parts: placed(parts, 2, 2, 0.0)),
    "a projective pose": (BadPose, lambda parts: placed(parts, 3, 0, 0.1)),
    "a pose that is no number": (BadPose, lambda parts: placed(parts, 1, 3, np.nan)),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_wrong_is_refused_by_its_name(name: str) -> None:
    error, spoil = REFUSALS[name]
    with pytest.raises(MalformedPacket) as refused:
        decode_frame(spoil(encode_frame(linear_frame())))
    assert type(refused.value) is error


BLOCKS = {
    "a cut block header": b"\x01\x00\x00\x00",
    "more bytes than are left": struct.pack("<HHI", 9, 0, 9) + bytes(8),
    "a huge size": struct.pack("<HHI", 9, 0, 2**32 - 1),
    "padding that is not zero": struct.pack("<HHI", 9, 0, 7) + b"1234567x",
    "a reserved field": struct.pack("<HHI", 9, 1, 0),
    "type 0": struct.pack("<HHI", 0, 0, 0),
    "a pose's origin of two lines": struct.pack("<HHI", 6, 0, 8) + b"network\n",
    "a pose's origin that says nothing": struct.pack("<HHI", 6, 0, 2) + b"\n\n" + bytes(6),
    "a pose's origin that is no text": struct.pack("<HHI", 6, 0, 3) + b"\xff\n\n" + bytes(5),
    "two mechanical indices": 2 * (struct.pack("<HHI", 2, 0, 8) + struct.pack("<d", 0.5)),
    "an index that is no number": struct.pack("<HHI", 2, 0, 8) + struct.pack("<d", float("nan")),
    "no focus": struct.pack("<HHI", 4, 0, 0),
    "half an IMU sample": struct.pack("<HHI", 1, 0, 24) + bytes(24),
    "an infinite IMU sample": struct.pack("<HHI", 1, 0, 48) + struct.pack("<Q9fI", 1, float("inf"), *[0.0] * 8, 0),
    "a field that its flags deny": struct.pack("<HHI", 1, 0, 48) + struct.pack("<Q9fI", 1, *[0.0] * 8, 1.0, 0),
    "too many blocks": struct.pack("<HHI", 9, 0, 0) * 257,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_wrong_extension_is_refused(name: str) -> None:
    parts = encode_frame(linear_frame())
    with pytest.raises(BadExtension):
        decode_frame(changed([parts[0], BLOCKS[name], parts[2]], extension_size=len(BLOCKS[name])))


def test_a_sector_too_large_to_convert_is_refused_before_any_image_is_made() -> None:
    parts = encode_frame(convex_frame())
    with pytest.raises(BadField, match="another spacing"):
        decode_frame(changed(parts, spacing_mm=(0.001, 0.001)))


def test_a_frame_that_could_not_be_read_is_not_sent() -> None:
    with pytest.raises(BadSize):
        encode_frame(linear_frame(geometry=Geometry(width=13, height=10, spacing_mm=(0.2, 0.1))))
    with pytest.raises(BadExtension):
        encode_frame(linear_frame(extras=Extras(focus_mm=(float("nan"),))))
    with pytest.raises(BadExtension, match="more than"):
        encode_frame(linear_frame(extras=Extras(unknown=((99, bytes(1 << 20)),))))


def test_the_pose_of_a_calibrated_probe_is_accepted() -> None:
    # the axes of PLUS's spine phantom calibration: 0.048 off the right angle, scales unlike each other
    axes = np.array([[0.0854, -0.0038, 0.0], [0.0, 0.0789, 0.0], [0.0, 0.0, 0.0822]])
    pose = np.eye(4)
    pose[:3, :3] = axes
    geometry = Geometry(width=12, height=10, spacing_mm=(0.0854, 0.079))
    frame = linear_frame(geometry=geometry, image_to_reference=tuple(pose.ravel().tolist()))
    assert same(decode_frame(encode_frame(frame)), frame)
