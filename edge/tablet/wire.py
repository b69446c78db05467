"""The link's messages as bytes (docs/tablet-link.md): encode for the page, decode for tests and other clients, read what the page says."""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal, NamedTuple

import lz4.block
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError

HEADER = struct.Struct("<BBHIQdII")
SPACING = struct.Struct("<2f")  # before an image's JPEG
RAW, LZ4 = 0, 1
IN_SWEEP, PHOTOACOUSTIC = 1, 2  # flags of an image
MOST_NM = 4095
LARGEST_TEXT = 64 << 10
VOXELS, CELLS, MASK = 512, 64, 64
Bytes = NDArray[np.uint8]


class MalformedLinkMessage(SonosweepError):
    """Bytes that are no binary message of the link."""


class MalformedCommand(SonosweepError):
    """What a page said is neither an acknowledgement nor a command."""


class LinkMessage(NamedTuple):
    """A decoded binary message: ``kind`` I, V or S; the header's fields; ``items`` what the header counts, ``payload`` decompressed."""

    kind: str
    flags: int
    seq: int
    number: int
    time_ms: float
    items: int
    payload: bytes


def photoacoustic(wavelength_nm: float) -> int:
    """The flags of a photoacoustic image: whole nm stand in the upper 12 bits, 0 where the probe tells none or none that fits."""
    nm = round(wavelength_nm)
    return PHOTOACOUSTIC | (nm if 0 < nm <= MOST_NM else 0) << 4


def image(
    seq: int, sequence: int, flags: int, time_ms: float, size: tuple[int, int], spacing_mm: tuple[float, float], jpeg: bytes
) -> bytes:
    """``I``: a grey JPEG of ``size`` (columns, rows) with its scale: no image is drawn at that of another one."""
    payload = SPACING.pack(*spacing_mm) + jpeg
    return HEADER.pack(ord("I"), RAW, flags, seq, max(sequence, 0), time_ms, size[0] | size[1] << 16, len(payload)) + payload


def bricks(seq: int, epoch: int, channel: int, time_ms: float, coords: NDArray[np.int16], changed: NDArray[np.bool_], now: Bytes) -> bytes:
    """``V``: ``coords`` [n, 3], ``changed`` [n, 512], ``now`` [n, 2, 512] (intensity, state); only changed voxels travel."""
    masks = np.packbits(changed, axis=1, bitorder="little")
    payload = b"".join([coords.astype("<i2").tobytes(), masks.tobytes(), now[:, 0][changed].tobytes(), now[:, 1][changed].tobytes()])
    return _packed("V", seq, epoch, channel, time_ms, len(coords), payload)


def half_bricks(seq: int, epoch: int, channel: int, time_ms: float, coords: NDArray[np.int16], cells: Bytes) -> bytes:
    """``S``: ``cells`` [n, 2, 64] (intensity, state)."""
    payload = b"".join([coords.astype("<i2").tobytes(), cells[:, 0].tobytes(), cells[:, 1].tobytes()])
    return _packed("S", seq, epoch, channel, time_ms, len(coords), payload)


def decode(data: bytes) -> LinkMessage:
    """The message in ``data``. ``MalformedLinkMessage``."""
    if len(data) < HEADER.size:
        raise MalformedLinkMessage(f"a message has a header of {HEADER.size} bytes, got {len(data)}")
    kind, codec, flags, seq, number, time_ms, count, raw_length = HEADER.unpack_from(data)
    payload = data[HEADER.size :]
    try:
        payload = lz4.block.decompress(payload, uncompressed_size=raw_length) if codec == LZ4 else payload
    except lz4.block.LZ4BlockError as wrong:
        raise MalformedLinkMessage(f"the payload is no LZ4 block: {wrong}") from wrong
    if chr(kind) not in "IVS" or codec not in (RAW, LZ4) or len(payload) != raw_length:
        raise MalformedLinkMessage(f"type {kind}, codec {codec}, {len(payload)} bytes instead of {raw_length}")
    return LinkMessage(chr(kind), flags, seq, number, time_ms, count, payload)


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A binary message has been applied."""

    ack: Literal["I", "V", "S"]
    seq: int


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"action": "do"}):
    """A command. Which of the fields it needs stands in the table of commands."""

    id: int
    action: str
    sweep: str = ""
    direction: Literal["+", "-", ""] = ""
    direction_confirmed: bool = False
    exam: dict[str, str] = {}
    preset: int = 0
    on: bool = False
    mode: Literal["auto", "full", "half", "frames"] = "auto"
    formats: tuple[Literal["nrrd", "mha", "nii.gz", "igs.mha", "png", "dcm", "zip"], ...] = ()
    measures: list[dict[str, Any]] = []
    tablet: str = ""
    date: Annotated[str, msgspec.Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    epoch: int = 0
    crc32: int = 0
    t: float = 0.0


def read_text(text: str | bytes) -> Ack | Request:
    """What a page said. ``MalformedCommand``."""
    if len(text) > LARGEST_TEXT:
        raise MalformedCommand(f"a message of {len(text)} characters; {LARGEST_TEXT} are the most")
    kind: type[Ack] | type[Request] = Ack if text[:7] in ('{"ack":', b'{"ack":') else Request
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as wrong:
        raise MalformedCommand(f"{kind.__name__.lower()}: {wrong}") from wrong


def _packed(kind: str, seq: int, epoch: int, channel: int, time_ms: float, count: int, payload: bytes) -> bytes:
    body = lz4.block.compress(payload, store_size=False)
    return HEADER.pack(ord(kind), LZ4, channel, seq, epoch, time_ms, count, len(payload)) + bytes(body)
