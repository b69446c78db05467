"""What OpenIGTLink's messages say: images, transforms, states, texts, commands; packed and parsed.

OpenIGTLink's space is RAS. Ours (Reference, as our volume files have it) is LPS, so every matrix is turned by half a turn about
z at this door and nowhere else: what is shown live lies where the saved volume lies, and nothing is ever mirrored. 3D Slicer
takes every matrix as RAS and ignores the image's own coordinate flag, so images are never said in LPS.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.openigtlink.envelope import ASCII, UTF_8
from edge.openigtlink.errors import BadBody, CannotSay, NotHandled

Floats = NDArray[np.float64]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse
SAMPLES = {2: "i1", 3: "u1", 4: "i2", 5: "u2", 6: "i4", 7: "u4", 10: "f4", 11: "f8"}
_NUMBERS = {np.dtype(kind): number for number, kind in SAMPLES.items()}
_RAS, _LPS = 1, 2
_BIG, _LITTLE = 1, 2
_IMAGE = struct.Struct(">HBBBB3H12f6H")
_TRACKED = struct.Struct(">20sBB12f")
_STATUS = struct.Struct(">HQ20s")
_TEXT = struct.Struct(">HH")
_COMMAND = struct.Struct(">I128sHI")
_MOST_TRACKED = 256
LONGEST_SIDE = 65535  # a size has 16 bits
FARTHEST_MM = 1e6


@dataclass(frozen=True)
class ImageBody:
    """``voxels`` [k, j, i] or [k, j, i, components]; ``image_to_lps`` 4x4 maps (i, j, k) to millimetres."""

    voxels: NDArray[np.generic]
    image_to_lps: Floats


@dataclass(frozen=True)
class TrackedBody:
    """One element of TDATA: a tool's name and its pose in RAS, as it was sent."""

    name: str
    ras: Floats


@dataclass(frozen=True)
class StatusBody:
    """``code`` 1 is well; the others are in the protocol's list."""

    code: int
    name: str
    text: str


@dataclass(frozen=True)
class CommandBody:
    """A command and its number, which comes back in the answer. ``name`` of an answer is that of an error, or empty."""

    number: int
    name: str
    content: str


def pack_image(image: ImageBody) -> list[bytes | memoryview]:
    """An IMAGE in RAS, whole. ``CannotSay`` for samples and sizes that the message cannot hold."""
    voxels = np.ascontiguousarray(image.voxels)
    if voxels.dtype not in _NUMBERS or voxels.ndim not in (3, 4) or max(voxels.shape) > LONGEST_SIDE:
        raise CannotSay(f"an IMAGE of {voxels.dtype} {voxels.shape} cannot be said; it has 3 axes of at most {LONGEST_SIDE} voxels")
    size = voxels.shape[2::-1]
    ras = LPS_TO_RAS @ image.image_to_lps
    centre = ras @ [*((n - 1) / 2 for n in size), 1.0]
    columns = (*ras[:3, 0], *ras[:3, 1], *ras[:3, 2], *centre[:3])
    components = voxels.shape[3] if voxels.ndim == 4 else 1
    head = _IMAGE.pack(1, components, _NUMBERS[voxels.dtype], _LITTLE, _RAS, *size, *columns, 0, 0, 0, *size)
    return [head, voxels.data.cast("B")]


def parse_image(content: memoryview) -> ImageBody:
    """``BadBody``, ``NotHandled``. The voxels view ``content``."""
    if len(content) < _IMAGE.size:
        raise BadBody(f"an IMAGE has at least {_IMAGE.size} bytes, got {len(content)}")
    _, components, kind, endian, space, *rest = _IMAGE.unpack(content[: _IMAGE.size])
    size, numbers, part = rest[:3], rest[3:15], rest[15:]
    if kind not in SAMPLES or endian not in (_BIG, _LITTLE) or space not in (_RAS, _LPS) or not components or 0 in size:
        raise BadBody(f"an IMAGE of sample type {kind}, byte order {endian}, space {space}, {components} components, {size} voxels is none")
    if part != [0, 0, 0, *size]:
        raise NotHandled(f"an IMAGE of {size} voxels that brings only the part {part}; let the sender send whole images")
    dtype = np.dtype(SAMPLES[kind]).newbyteorder(">" if endian == _BIG else "<")
    if len(content) - _IMAGE.size != int(np.prod(size, dtype=object)) * components * dtype.itemsize:
        raise BadBody(f"an IMAGE of {size} voxels of {components} x {dtype} does not have {len(content) - _IMAGE.size} bytes of them")
    told = _matrix("IMAGE", numbers)
    told[:3, 3] -= told[:3, :3] @ ((np.array(size) - 1) / 2)
    shape = (size[2], size[1], size[0]) + ((components,) if components > 1 else ())
    return ImageBody(np.frombuffer(content[_IMAGE.size :], dtype).reshape(shape), LPS_TO_RAS @ told if space == _RAS else told)


def pack_transform(ras: Floats) -> list[bytes | memoryview]:
    """A TRANSFORM."""
    return [struct.pack(">12f", *ras[:3].T.reshape(-1))]


def parse_transform(content: memoryview) -> Floats:
    """4x4, as it was sent. ``BadBody``."""
    if len(content) != 48:
        raise BadBody(f"a TRANSFORM has 48 bytes, got {len(content)}")
    return _matrix("TRANSFORM", struct.unpack(">12f", content))


def pack_tracked(tools: list[TrackedBody]) -> list[bytes | memoryview]:
    """A TDATA of tools with six degrees of freedom."""
    return [_TRACKED.pack(tool.name.encode()[:20], 2, 0, *tool.ras[:3].T.reshape(-1)) for tool in tools]


def parse_tracked(content: memoryview) -> list[TrackedBody]:
    """``BadBody``."""
    if len(content) % _TRACKED.size or len(content) > _MOST_TRACKED * _TRACKED.size:
        raise BadBody(f"a TDATA has up to {_MOST_TRACKED} elements of {_TRACKED.size} bytes, got {len(content)} bytes")
    return [TrackedBody(_name(name), _matrix("TDATA", numbers)) for name, _, _, *numbers in _TRACKED.iter_unpack(content)]


def pack_status(status: StatusBody) -> list[bytes | memoryview]:
    """A STATUS."""
    return [_STATUS.pack(status.code, 0, status.name.encode()[:19]), status.text.encode() + b"\0"]


def parse_status(content: memoryview) -> StatusBody:
    """``BadBody``."""
    if len(content) < _STATUS.size:
        raise BadBody(f"a STATUS has at least {_STATUS.size} bytes, got {len(content)}")
    code, _, name = _STATUS.unpack(content[: _STATUS.size])
    return StatusBody(code, _name(name), bytes(content[_STATUS.size :]).split(b"\0", 1)[0].decode(errors="replace"))


def pack_text(text: str) -> list[bytes | memoryview]:
    """A STRING, cut after 65535 bytes."""
    data = text.encode()[:65535]
    return [_TEXT.pack(ASCII if data.isascii() else UTF_8, len(data)), data]


def parse_text(content: memoryview) -> str:
    """``BadBody``."""
    if len(content) < _TEXT.size or (size := _TEXT.unpack(content[: _TEXT.size])[1]) != len(content) - _TEXT.size:
        raise BadBody(f"a STRING says its length, and that is not the one of its {len(content)} bytes")
    return bytes(content[_TEXT.size : _TEXT.size + size]).decode(errors="replace")


def pack_command(command: CommandBody) -> list[bytes | memoryview]:
    """A COMMAND, or the RTS_COMMAND that answers it."""
    data = command.content.encode()
    return [_COMMAND.pack(command.number, command.name.encode()[:127], ASCII if data.isascii() else UTF_8, len(data)), data]


def parse_command(content: memoryview) -> CommandBody:
    """``BadBody``. PLUS closes the text with a zero and some senders do not count it."""
    if len(content) < _COMMAND.size:
        raise BadBody(f"a COMMAND has at least {_COMMAND.size} bytes, got {len(content)}")
    number, name, _encoding, size = _COMMAND.unpack(content[: _COMMAND.size])
    if _COMMAND.size + size > len(content):
        raise BadBody(f"a COMMAND of {size} characters does not fit {len(content)} bytes")
    text = bytes(content[_COMMAND.size : _COMMAND.size + size]).split(b"\0", 1)[0]
    return CommandBody(number, _name(name), text.decode(errors="replace"))


def _name(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace").strip()


def _matrix(what: str, numbers: tuple[float, ...] | list[float]) -> Floats:
    """4x4 of twelve numbers, column by column."""
    matrix = np.eye(4)
    matrix[:3] = np.reshape(numbers, (4, 3)).T
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > FARTHEST_MM:
        raise BadBody(f"the matrix of an {what} is finite and lies within a kilometre, got {[round(n, 3) for n in numbers]}")
    return matrix
