"""What is around every OpenIGTLink message: the head with its checksum, and from version 2 on a number and metadata.

All numbers are big-endian. http://openigtlink.org/developers/spec and, for version 2, the protocol's ``v3_extheader``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edge.compounding.native import load
from edge.openigtlink.errors import BadBody, BadCrc, BadHead, CannotSay, TooLarge

HEAD_BYTES = 58
LARGEST_BODY = 1 << 30  # an 8-bit volume of 1024^3; who takes less says so
_HEAD = struct.Struct(">H12s20sIIQQ")
_EXTENDED = struct.Struct(">HHII")
_ENTRY = struct.Struct(">HHI")
_SECOND_NS = 1_000_000_000
ASCII, UTF_8 = 3, 106  # of IANA's list of character sets
_MOST_ENTRIES = 1024


@dataclass(frozen=True)
class Head:
    """The 58 bytes before a message. ``timestamp_ns`` since 1970, 0 where not told."""

    version: int
    kind: str
    device: str
    timestamp_ns: int
    body_bytes: int
    crc: int


@dataclass(frozen=True)
class Envelope:
    """A message that arrived whole. ``content`` is what its kind says it is; see bodies.py."""

    kind: str
    device: str
    timestamp_ns: int
    content: memoryview
    version: int = 1
    metadata: dict[str, str] = field(default_factory=dict)


def crc64(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """The checksum of ECMA-182; ``crc`` is that of the bytes before."""
    view = memoryview(data)
    if not view.nbytes:
        return crc
    at = np.frombuffer(view, np.uint8)
    return int(load().sono_crc64(at.ctypes.data, at.size, crc))


def parse_head(data: bytes | bytearray | memoryview, largest_body: int = LARGEST_BODY) -> Head:
    """``BadHead`` for anything that is none, ``TooLarge`` for one that promises more than ``largest_body``."""
    if len(data) != HEAD_BYTES:
        raise BadHead(f"a message begins with {HEAD_BYTES} bytes, got {len(data)}")
    version, kind, device, seconds, fraction, body_bytes, crc = _HEAD.unpack(data)
    if version not in (1, 2):
        raise BadHead(f"header version {version} is not known (1 and 2 are); is it OpenIGTLink that is spoken at this port?")
    if body_bytes > largest_body:
        raise TooLarge(f"a message of {body_bytes} bytes is larger than the {largest_body} that are taken")
    nanoseconds = (fraction * _SECOND_NS + (1 << 31)) >> 32
    return Head(version, _word(kind, "type"), _word(device, "device name"), seconds * _SECOND_NS + nanoseconds, body_bytes, crc)


def open_body(head: Head, body: bytes | bytearray | memoryview) -> Envelope:
    """The message of ``head`` and its ``body``; ``BadCrc``, ``BadBody``."""
    view = memoryview(body)
    if len(view) != head.body_bytes:
        raise BadBody(f"{head.kind}: {head.body_bytes} bytes were promised, {len(view)} came")
    if crc64(view) != head.crc:
        raise BadCrc(f"{head.kind} {head.device}: the checksum is wrong; the message was damaged, or its sender leaves the checksum out")
    metadata: dict[str, str] = {}
    if head.version > 1:
        view, metadata = _extended(head.kind, view)
    return Envelope(head.kind, head.device, head.timestamp_ns, view, head.version, metadata)


def seal(
    kind: str,
    device: str,
    timestamp_ns: int,
    content: list[bytes | memoryview],
    version: int = 1,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A whole message. ``metadata`` travels in version 2 only. ``CannotSay`` where a name is too long."""
    before, after = b"", b""
    if version > 1:
        pairs = [(key.encode(), value.encode()) for key, value in (metadata or {}).items()]
        index = b"".join(_ENTRY.pack(len(key), UTF_8, len(value)) for key, value in pairs)
        table = struct.pack(">H", len(pairs)) + index
        texts = b"".join(key + value for key, value in pairs)
        before, after = _EXTENDED.pack(_EXTENDED.size, len(table), len(texts), 0), table + texts
    names = kind.encode(), device.encode()
    if len(names[0]) > 12 or len(names[1]) > 20:
        raise CannotSay(f"{kind} {device}: a type has at most 12 bytes, a device name 20")
    parts, size, crc = [before, *content, after], 0, 0
    for part in parts:
        size, crc = size + len(part), crc64(part, crc)
    seconds, rest_ns = divmod(max(timestamp_ns, 0), _SECOND_NS)
    return b"".join([_HEAD.pack(version, *names, seconds & 0xFFFFFFFF, (rest_ns << 32) // _SECOND_NS, size, crc), *parts])


def _word(data: bytes, what: str) -> str:
    text = data.split(b"\0", 1)[0].rstrip()
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise BadHead(f"a {what} is ASCII, got {text!r}") from None


def _extended(kind: str, view: memoryview) -> tuple[memoryview, dict[str, str]]:
    if len(view) < _EXTENDED.size:
        raise BadBody(f"{kind}: the extended header needs {_EXTENDED.size} bytes, got {len(view)}")
    size, table_bytes, text_bytes, _number = _EXTENDED.unpack(view[: _EXTENDED.size])
    end = len(view) - table_bytes - text_bytes
    if not _EXTENDED.size <= size <= end:
        raise BadBody(f"{kind}: an extended header of {size} bytes and metadata of {table_bytes} + {text_bytes} do not fit {len(view)}")
    return view[size:end], _metadata(kind, view[end : end + table_bytes], view[end + table_bytes :])


def _metadata(kind: str, table: memoryview, texts: memoryview) -> dict[str, str]:
    if not len(table):
        return {}
    count = int.from_bytes(table[:2], "big")
    if count > _MOST_ENTRIES or len(table) < 2 + count * _ENTRY.size:
        raise BadBody(f"{kind}: {count} entries of metadata do not fit {len(table)} bytes")
    found, at = {}, 0
    for number in range(count):
        key_bytes, _encoding, value_bytes = _ENTRY.unpack_from(table, 2 + number * _ENTRY.size)
        if at + key_bytes + value_bytes > len(texts):
            raise BadBody(f"{kind}: entry {number} of the metadata ends beyond the message")
        key = bytes(texts[at : at + key_bytes]).decode(errors="replace")
        found[key] = bytes(texts[at + key_bytes : at + key_bytes + value_bytes]).decode(errors="replace")
        at += key_bytes + value_bytes
    return found
