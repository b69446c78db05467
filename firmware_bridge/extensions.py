"""The extension blocks of a frame message: typed, 8-byte aligned, unknown types kept. In C: sonosweep_extension.

A block is type u16, reserved u16 (zero), size u32 (bytes of data), the data, and zeros up to a multiple of 8. Types from
0x8000 on are free for vendors.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from edge.messages import Buffer, Extras, ImuSample
from firmware_bridge.errors import BadExtension

IMU, MECHANICAL_INDEX, THERMAL_INDEX, FOCUS, LASER_ENERGY, POSE_ORIGIN = 1, 2, 3, 4, 5, 6
BLOCK = struct.Struct("<HHI")
IMU_SAMPLE = np.dtype(
    [
        ("timestamp_ns", "<u8"),  # the probe's clock
        ("acceleration_m_s2", "<f4", 3),
        ("angular_velocity_rad_s", "<f4", 3),
        ("magnetic_field_ut", "<f4", 3),
        ("flags", "<u4"),  # bit 0: the magnetic field was measured; else it is zero
    ]
)
MAGNETIC_FIELD_MEASURED = 1
LARGEST_BYTES = 1 << 20  # all blocks of one frame
MOST_BLOCKS = 256
MOST_IMU_SAMPLES = 1024
MOST_FOCI = 64
LONGEST_ORIGIN = 1000  # bytes
TRACKED = ("", "", "")
LATEST_NS = 2**63 - 1

SCALARS = {  # field of Extras and its largest value
    MECHANICAL_INDEX: ("mechanical_index", 100.0),
    THERMAL_INDEX: ("thermal_index", 100.0),
    LASER_ENERGY: ("laser_energy_mj", 1e6),
}


def decode_extensions(data: Buffer) -> tuple[Extras, tuple[str, str, str]]:
    """The blocks in ``data`` (at most LARGEST_BYTES), and the pose's origin (``Frame.pose_origin``).

    ``BadExtension`` for anything that is not a row of whole blocks.
    """
    origin = TRACKED
    known: dict[str, object] = {}
    unknown: list[tuple[int, bytes]] = []
    seen: set[int] = set()
    for kind, block in _blocks(data):
        if kind in SCALARS:
            name, largest = SCALARS[kind]
            known[name] = _numbers(kind, block, 1, largest)[0]
        elif kind == FOCUS:
            known["focus_mm"] = _numbers(kind, block, MOST_FOCI, 1000.0)
        elif kind == IMU:
            known["imu"] = _imu_samples(block)
        elif kind == POSE_ORIGIN:
            origin = _origin(block)
        else:
            unknown.append((kind, block))
            continue
        if kind in seen:
            raise BadExtension(f"extension type {kind} comes twice; send one block of it in a frame")
        seen.add(kind)
    return Extras(unknown=tuple(unknown), **known), origin  # type: ignore[arg-type]


def encode_extensions(extras: Extras, origin: tuple[str, str, str] = TRACKED) -> bytes:
    """The blocks of ``extras`` and of the pose's origin; IMU values are rounded to float32.

    ``BadExtension`` where they could not be decoded.
    """
    blocks: list[tuple[int, bytes]] = []
    if origin != TRACKED:
        blocks.append((POSE_ORIGIN, "\n".join(origin).encode()))
    if extras.imu:
        blocks.append((IMU, _imu_bytes(extras.imu)))
    if extras.focus_mm:
        blocks.append((FOCUS, struct.pack(f"<{len(extras.focus_mm)}d", *extras.focus_mm)))
    for kind, (name, _) in SCALARS.items():
        if (value := getattr(extras, name)) is not None:
            blocks.append((kind, struct.pack("<d", value)))
    blocks += extras.unknown
    try:
        data = b"".join(BLOCK.pack(kind, 0, len(block)) + block + bytes(-len(block) % 8) for kind, block in blocks)
    except struct.error as wrong:
        raise BadExtension(f"an extension block cannot be written: {wrong}") from wrong
    if len(data) > LARGEST_BYTES:
        raise BadExtension(f"extensions take {len(data)} bytes, more than {LARGEST_BYTES}; send fewer")
    decode_extensions(data)
    return data


def _blocks(data: Buffer) -> list[tuple[int, bytes]]:
    blocks: list[tuple[int, bytes]] = []
    at, end = 0, len(data)
    while at < end:
        if len(blocks) == MOST_BLOCKS:
            raise BadExtension(f"more than {MOST_BLOCKS} extension blocks in one frame")
        if end - at < BLOCK.size:
            raise BadExtension(f"{end - at} bytes are left over after the last extension block")
        kind, reserved, size = BLOCK.unpack_from(data, at)
        start, stop, following = at + BLOCK.size, at + BLOCK.size + size, at + BLOCK.size + size + -size % 8
        if kind == 0 or reserved:
            raise BadExtension(f"an extension block has a type above 0 and a reserved field of 0, got {kind} and {reserved}")
        if following > end:
            raise BadExtension(f"extension type {kind} claims {size} bytes where {end - start} are left")
        if any(data[stop:following]):
            raise BadExtension(f"extension type {kind} is not padded with zeros")
        blocks.append((kind, bytes(data[start:stop])))
        at = following
    return blocks


def _numbers(kind: int, block: bytes, most: int, largest: float) -> tuple[float, ...]:
    if not block or len(block) % 8 or len(block) > 8 * most:
        raise BadExtension(f"extension type {kind} holds 1 to {most} float64, got {len(block)} bytes")
    values = struct.unpack(f"<{len(block) // 8}d", block)
    if not all(0 <= value <= largest for value in values):  # false for NaN too
        raise BadExtension(f"extension type {kind} must lie between 0 and {largest:g}, got {values}")
    return values


def _origin(block: bytes) -> tuple[str, str, str]:
    try:
        lines = block.decode().split("\n")
    except UnicodeDecodeError:
        lines = []
    if len(block) > LONGEST_ORIGIN or len(lines) != 3 or not lines[0] or not all(line.isprintable() for line in lines):
        raise BadExtension(
            f"extension type {POSE_ORIGIN} holds three lines of text, at most {LONGEST_ORIGIN} bytes, got {block[:60]!r}; "
            "leave it out where a tracker measured the pose"
        )
    source, direction, direction_source = lines
    return source, direction, direction_source


def _imu_samples(block: bytes) -> tuple[ImuSample, ...]:
    if not block or len(block) % IMU_SAMPLE.itemsize or len(block) > MOST_IMU_SAMPLES * IMU_SAMPLE.itemsize:
        raise BadExtension(f"IMU samples are 1 to {MOST_IMU_SAMPLES} times {IMU_SAMPLE.itemsize} bytes, got {len(block)}")
    return tuple(map(_imu_sample, np.frombuffer(block, IMU_SAMPLE)))


def _imu_sample(row: np.void) -> ImuSample:
    time_ns, flags = int(row["timestamp_ns"]), int(row["flags"])
    acceleration, rotation, field = (
        tuple(row[name].tolist()) for name in ("acceleration_m_s2", "angular_velocity_rad_s", "magnetic_field_ut")
    )
    if time_ns > LATEST_NS or flags & ~MAGNETIC_FIELD_MEASURED:
        raise BadExtension(f"an IMU sample has time {time_ns} ns and flags {flags:#x}; bit 0 is the only flag")
    if not all(map(math.isfinite, (*acceleration, *rotation, *field))):
        raise BadExtension("an IMU sample is not finite")
    if not flags and any(field):
        raise BadExtension("an IMU sample has a magnetic field that its flags deny")
    return ImuSample(
        timestamp_ns=time_ns,
        acceleration_m_s2=acceleration,
        angular_velocity_rad_s=rotation,
        magnetic_field_ut=field if flags else None,
    )


def _imu_bytes(samples: tuple[ImuSample, ...]) -> bytes:
    rows = np.zeros(len(samples), IMU_SAMPLE)
    for row, sample in zip(rows, samples, strict=True):
        if not 0 <= sample.timestamp_ns <= LATEST_NS:
            raise BadExtension(f"an IMU sample's time must lie between 0 and {LATEST_NS} ns, got {sample.timestamp_ns}")
        row["timestamp_ns"] = sample.timestamp_ns
        with np.errstate(over="ignore"):  # becomes infinite and is refused as such
            row["acceleration_m_s2"] = sample.acceleration_m_s2
            row["angular_velocity_rad_s"] = sample.angular_velocity_rad_s
            row["magnetic_field_ut"] = sample.magnetic_field_ut or 0.0
        row["flags"] = MAGNETIC_FIELD_MEASURED if sample.magnetic_field_ut is not None else 0
    return rows.tobytes()
