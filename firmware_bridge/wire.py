"""The wire from the front end: one frame is the message [header, extensions, payload], all little-endian. In C: sonosweep_wire.h.

The header describes the image in MF orientation whatever the payload's orientation is. PLUS's letters name where the image's
axes point: the first says whether columns rise towards the Marked or the Unmarked side of the transducer, the second whether
rows rise away from the transducer (Far) or towards it (Near). So the first pixel of an MF image lies next to the transducer
on its unmarked side. UF, MN and UN payloads are flipped to MF at this door; pose, spacing, radii and angles are of the MF image.

A convex payload is beams (columns) x samples (rows). Its pose belongs to the scan-converted image: square pixels of
``spacing_mm``, W columns centred on the probe's axis, so that column c lies at lateral (c - (W - 1) / 2) * spacing and row r
at depth radius_start * cos(max |angle|) + r * spacing below the centre of curvature.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.messages import SAMPLE_TYPES, BadGeometry, Buffer, Frame, Geometry, Orientation
from firmware_bridge.errors import BadCrc, BadField, BadMagic, BadParts, BadPose, BadSize, UnsupportedVersion
from firmware_bridge.extensions import LARGEST_BYTES, LATEST_NS, decode_extensions, encode_extensions

MAGIC = int.from_bytes(b"SSWP", "little")
VERSION = 1
LAST_OF_SWEEP = 1
HEADER = np.dtype(
    [
        ("magic", "<u4"),
        ("version", "<u2"),
        ("header_size", "<u2"),
        ("flags", "<u4"),  # bit 0: last frame of its sweep
        ("crc32", "<u4"),  # zlib's CRC-32 over header (this field zero), extensions, payload
        ("boot_id", "<u8"),  # random at each start of the front end
        ("sequence", "<u8"),  # rises by 1 with each frame of a sweep, from 0
        ("timestamp_ns", "<u8"),  # the probe's clock
        ("sweep", "<u4"),
        ("extension_size", "<u4"),  # bytes of the second part
        ("payload_size", "<u4"),  # bytes of the third part
        ("width", "<u2"),  # columns; beams of a convex probe
        ("height", "<u2"),  # rows; samples of a beam
        ("modality", "u1"),
        ("sample_type", "u1"),
        ("orientation", "u1"),  # of the payload
        ("geometry", "u1"),
        ("pose_status", "<u4"),
        ("wavelength_nm", "<f8"),  # photoacoustic; 0 where not told, and for B-mode
        ("sample_range", "<f8", 2),  # sample values that mean black and white
        ("spacing_mm", "<f8", 2),  # lateral, axial
        ("depth_mm", "<f8"),  # as set on the front end; 0 where not told
        ("radius_mm", "<f8", 2),  # convex: first and last sample, from the centre of curvature
        ("angle_deg", "<f8", 2),  # convex: first and last beam; 0 is straight down, positive towards + lateral
        ("image_to_reference", "<f8", 16),  # row-major 4x4, pixel indices of the MF image to mm; zeros where missing
        ("reserved", "u1", 48),  # zeros
    ]
)
CODES: dict[str, dict[str, int]] = {
    "modality": {"bmode": 1, "photoacoustic": 2},
    "sample_type": {"uint8": 1, "uint16": 2},
    "orientation": {"MF": 1, "MN": 2, "UF": 3, "UN": 4},
    "geometry": {"linear": 1, "convex": 2},
    "pose_status": {"missing": 0, "ok": 1, "invalid": 2},
}
WORDS = {field: {code: word for word, code in codes.items()} for field, codes in CODES.items()}
LARGEST_CONVERTED = 4096  # columns and rows of a convex image after scan conversion
SCALE_TOLERANCE = 0.1  # calibrated poses differ from the nominal spacing by some percent
SKEW_TOLERANCE = 0.1  # largest cosine between two axes; calibrations by N-wires reach 0.05
_CRC_AT = slice(12, 16)


def decode_frame(parts: Sequence[Buffer]) -> Frame:
    """The frame in ``parts``; a subclass of ``MalformedPacket`` for anything else.

    ``pixels`` are read-only, a view of the payload where it is in MF orientation. Nothing is stamped: the bridge does that.
    """
    if len(parts) != 3:
        raise BadParts(f"a frame has 3 parts (header, extensions, payload), got {len(parts)}")
    head, extensions, payload = (memoryview(part).cast("B") for part in parts)
    fields = _decode_header(head, len(extensions), len(payload))
    if _crc32(head, extensions, payload) != fields["crc32"]:
        raise BadCrc("the checksum of a frame is wrong; it was damaged on its way, or the sender computes it differently")
    words = {field: _word(field, fields[field]) for field in CODES}
    if fields["flags"] & ~LAST_OF_SWEEP or any(fields["reserved"]):
        raise BadField(f"flags {fields['flags']:#x} or reserved bytes are set that version {VERSION} does not know")
    dtype = np.dtype(SAMPLE_TYPES[words["sample_type"]])
    width, height = fields["width"], fields["height"]
    if not payload or width * height * dtype.itemsize != len(payload):
        raise BadSize(f"{width} x {height} {words['sample_type']} are {width * height * dtype.itemsize} bytes, not {len(payload)}")
    radius, angle, matrix = fields["radius_mm"], fields["angle_deg"], tuple(fields["image_to_reference"])
    extras, (pose_source, direction, direction_source) = decode_extensions(extensions)
    frame = Frame(
        boot_id=fields["boot_id"],
        sweep=fields["sweep"],
        sequence=fields["sequence"],
        timestamp_ns=fields["timestamp_ns"],
        last=bool(fields["flags"] & LAST_OF_SWEEP),
        modality=words["modality"],
        wavelength_nm=fields["wavelength_nm"],
        geometry=Geometry(
            kind=words["geometry"],
            width=width,
            height=height,
            spacing_mm=tuple(fields["spacing_mm"]),
            depth_mm=fields["depth_mm"],
            radius_start_mm=radius[0],
            radius_stop_mm=radius[1],
            angle_start_deg=angle[0],
            angle_stop_deg=angle[1],
        ),
        sample_range=tuple(fields["sample_range"]),
        pose_status=words["pose_status"],
        image_to_reference=matrix if any(matrix) else None,
        pose_source=pose_source,
        pose_direction=direction,
        pose_direction_source=direction_source,
        extras=extras,
        pixels=_to_mf(np.frombuffer(payload, dtype).reshape(height, width), words["orientation"]),
    )
    check_frame(frame)
    return frame


def encode_frame(frame: Frame, orientation: Orientation = "MF") -> list[Buffer]:
    """The three parts of ``frame``, its payload stored as ``orientation``. What the bridge stamps does not travel.

    ``MalformedPacket`` (a subclass) where the frame could not be decoded.
    """
    check_frame(frame)
    pixels, geometry = np.ascontiguousarray(_to_mf(frame.pixels, orientation)), frame.geometry
    extensions, payload = encode_extensions(frame.extras, frame.pose_origin), pixels.data.cast("B")
    header = np.zeros(1, HEADER)
    row = header[0]
    row["magic"], row["version"], row["header_size"] = MAGIC, VERSION, HEADER.itemsize
    row["flags"] = LAST_OF_SWEEP if frame.last else 0
    for field in ("boot_id", "sequence", "timestamp_ns", "sweep", "wavelength_nm", "sample_range"):
        row[field] = getattr(frame, field)
    for field in ("width", "height", "spacing_mm", "depth_mm"):
        row[field] = getattr(geometry, field)
    row["radius_mm"] = geometry.radius_start_mm, geometry.radius_stop_mm
    row["angle_deg"] = geometry.angle_start_deg, geometry.angle_stop_deg
    row["extension_size"], row["payload_size"] = len(extensions), len(payload)
    words = (frame.modality, pixels.dtype.name, orientation, geometry.kind, frame.pose_status)
    for field, word in zip(CODES, words, strict=True):
        row[field] = CODES[field][word]
    if frame.image_to_reference is not None:
        row["image_to_reference"] = frame.image_to_reference
    row["crc32"] = _crc32(header.data.cast("B"), extensions, payload)
    return [header.tobytes(), extensions, payload]


def sealed(parts: Sequence[Buffer]) -> list[Buffer]:
    """``parts`` with the checksum made right, for senders and tests that change bytes of a whole header."""
    head = bytearray(parts[0])
    head[_CRC_AT] = _crc32(head, *parts[1:]).to_bytes(4, "little")
    return [bytes(head), *parts[1:]]


def check_frame(frame: Frame) -> None:
    """``BadField``, ``BadSize`` or ``BadPose`` unless ``frame`` is what the wire may carry."""
    if not (0 <= frame.boot_id < 2**64 and 0 <= frame.sweep < 2**32):
        raise BadField(f"boot identifier {frame.boot_id} or sweep {frame.sweep} is out of range")
    if not (0 <= frame.sequence <= LATEST_NS and 0 <= frame.timestamp_ns <= LATEST_NS):
        raise BadField(f"sequence {frame.sequence} or timestamp {frame.timestamp_ns} ns is not below 2^63")
    _check_geometry(frame.geometry)
    if frame.pixels.shape != (frame.geometry.height, frame.geometry.width):
        raise BadSize(f"pixels are {frame.pixels.shape}, the geometry says {frame.geometry.height} rows, {frame.geometry.width} columns")
    if frame.pixels.dtype.str not in SAMPLE_TYPES.values():
        raise BadField(f"samples are little-endian {' or '.join(SAMPLE_TYPES)}, got {frame.pixels.dtype.str}")
    black, white = frame.sample_range
    if not 0 <= black < white <= np.iinfo(frame.pixels.dtype).max:
        raise BadField(f"black and white must rise within the range of {frame.pixels.dtype.name}, got {frame.sample_range}")
    told = frame.wavelength_nm != 0
    if told and not (frame.modality == "photoacoustic" and 100 <= frame.wavelength_nm <= 20000):
        raise BadField(f"a wavelength is 100 to 20000 nm and of photoacoustic frames, got {frame.wavelength_nm} for {frame.modality}")
    check_pose(frame)


def _decode_header(head: memoryview, extension_bytes: int, payload_bytes: int) -> dict[str, Any]:
    if len(head) < 8:
        raise BadSize(f"a header has {HEADER.itemsize} bytes, got {len(head)}")
    if (magic := int.from_bytes(head[:4], "little")) != MAGIC:
        raise BadMagic(f"a frame starts with the bytes SSWP, got {magic.to_bytes(4, 'little')!r}")
    if (version := int.from_bytes(head[4:6], "little")) != VERSION:
        raise UnsupportedVersion(f"the front end speaks version {version}, this bridge {VERSION}; update the older of the two")
    if len(head) != HEADER.itemsize:
        raise BadSize(f"a header of version {VERSION} has {HEADER.itemsize} bytes, got {len(head)}")
    row = np.frombuffer(head, HEADER).tolist()[0]
    fields = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in zip(HEADER.names or (), row, strict=True)}
    said = fields["header_size"], fields["extension_size"], fields["payload_size"]
    if said != (HEADER.itemsize, extension_bytes, payload_bytes):
        raise BadSize(f"the header says {said} bytes, the parts have {(HEADER.itemsize, extension_bytes, payload_bytes)}")
    if extension_bytes > LARGEST_BYTES:
        raise BadSize(f"extensions take {extension_bytes} bytes, more than {LARGEST_BYTES}")
    return fields


def _crc32(head: Buffer, *rest: Buffer) -> int:
    blank = bytearray(head)
    blank[_CRC_AT] = bytes(4)
    crc = zlib.crc32(blank)
    for part in rest:
        crc = zlib.crc32(part, crc)
    return crc


def _word(field: str, code: int) -> Any:
    if code not in WORDS[field]:
        raise BadField(f"{field} {code} is not known; known: {WORDS[field]}")
    return WORDS[field][code]


def _to_mf(pixels: NDArray[Any], orientation: str) -> NDArray[Any]:
    """Flip to MF, or back: each flip is its own inverse."""
    flipped = pixels[:: -1 if orientation[1] == "N" else 1, :: -1 if orientation[0] == "U" else 1]
    mf = np.ascontiguousarray(flipped)
    mf.flags.writeable = False
    return mf


def _check_geometry(geometry: Geometry) -> None:
    try:
        geometry.check()
    except BadGeometry as wrong:
        raise BadField(str(wrong)) from wrong
    sector = geometry.radius_start_mm, geometry.radius_stop_mm, geometry.angle_start_deg, geometry.angle_stop_deg
    if geometry.kind == "linear":
        if any(sector):
            raise BadField(f"a linear probe has no radii and angles, got {sector}")
        return
    angles = math.radians(geometry.angle_start_deg), math.radians(geometry.angle_stop_deg)
    widest, narrowest = max(map(abs, angles)), 0.0 if angles[0] <= 0 <= angles[1] else min(map(abs, angles))
    across = 2 * geometry.radius_stop_mm * math.sin(widest)
    down = geometry.radius_stop_mm * math.cos(narrowest) - geometry.radius_start_mm * math.cos(widest)
    if not 2 <= min(across, down) / geometry.spacing_mm[0] <= max(across, down) / geometry.spacing_mm[0] <= LARGEST_CONVERTED - 1:
        raise BadField(
            f"a sector of {across:.1f} x {down:.1f} mm makes no image of 3 to {LARGEST_CONVERTED} pixels a side"
            f" at {geometry.spacing_mm[0]} mm a pixel; send another spacing"
        )


def check_pose(frame: Frame) -> None:
    values = frame.image_to_reference
    if frame.pose_status == "missing" or values is None:
        if frame.pose_status == "ok" or values is not None:
            raise BadPose(f"pose status {frame.pose_status} does not go with {'no ' if values is None else 'a '}matrix")
        return
    if len(values) != 16 or not all(map(math.isfinite, values)):
        raise BadPose("a pose has 16 finite numbers")
    if frame.pose_status == "invalid":
        return
    matrix = np.array(values).reshape(4, 4)
    if tuple(values[12:]) != (0, 0, 0, 1) or np.abs(matrix).max() > 1e6:
        raise BadPose(f"a pose has the last row 0 0 0 1 and lies within a kilometre, got {values}")
    axes = matrix[:3, :3]
    scale = np.linalg.norm(axes, axis=0)
    if scale.min() < 1e-6 or np.abs(scale[:2] / frame.geometry.spacing_mm - 1).max() > SCALE_TOLERANCE:
        raise BadPose(f"a pose scales pixels to {scale[:2].tolist()} mm where the spacing is {frame.geometry.spacing_mm} mm")
    units = axes / scale
    skew = np.abs(units.T @ units - np.eye(3)).max()
    if skew > SKEW_TOLERANCE or np.linalg.det(units) <= 0:
        raise BadPose(f"a pose's axes must be at right angles and right-handed; largest cosine {skew:.2g}, det {np.linalg.det(units):.2g}")
