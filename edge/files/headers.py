"""The text in front of the pixels of MetaImage and NRRD files: fields of the file, and fields of each frame of a PLUS sequence."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from edge.files.errors import MalformedFile, UnsupportedFile
from edge.files.payload import Encoding

LARGEST_HEADER = 128 << 20  # an hour of tracked frames
LONGEST_LINE = 1 << 16
MOST_LINES = 2 << 20
MOST_FIELDS = 4096  # of the file; each frame of a sequence has its own besides
MOST_FRAMES = 1 << 18
_FRAME_FIELD = re.compile(r"Seq_Frame(\d{1,9})_(\w.*)")
_META_TYPES = {"MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_USHORT": "u2", "MET_SHORT": "i2", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
_NRRD_TYPES = {
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i1": ("signed char", "int8", "int8_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i2": ("short", "short int", "signed short", "int16", "int16_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_NRRD_ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gzip": "deflate", "gz": "deflate"}
NRRD_FIELDS = frozenset(
    "type|dimension|space|sizes|space directions|kinds|encoding|space origin|space units|endian|units|space dimension|spacings|thicknesses|"
    "labels|centers|measurement frame|content|min|max|block size|byte skip|byteskip|line skip|lineskip".split("|")
)
META_FIELDS = frozenset(
    "ObjectType NDims BinaryData BinaryDataByteOrderMSB ElementByteOrderMSB CompressedData CompressedDataSize TransformMatrix Offset "
    "Position Origin Rotation Orientation CenterOfRotation AnatomicalOrientation ElementSpacing ElementSize DimSize ElementType "
    "ElementDataFile ElementNumberOfChannels ID ParentID Name Color Comment HeaderSize Modality Kinds ElementMin ElementMax SequenceID "
    "DistanceUnits".split()
)
LPS_SIGNS = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1, 1)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1, 1)),
}
_SPATIAL_KINDS = ("domain", "space")
_SKIPS = ("byte skip", "byteskip", "line skip", "lineskip", "HeaderSize")
_MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "?")  # or nothing known


@dataclass
class Header:
    """What stands in front of the pixels, in one shape for both formats.

    ``sizes`` fastest axis first, with the same number of ``kinds`` ("domain", "list", "vector"); ``dtype`` a numpy type string;
    ``spacing`` and ``origin`` of the spatial axes, as the file has them; ``frames`` the per-frame fields by frame index.
    """

    format: str
    fields: dict[str, str]
    frames: dict[int, dict[str, str]]
    sizes: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    dtype: str = "|u1"
    encoding: Encoding = "raw"
    spacing: tuple[float, ...] = ()
    element_size: tuple[float, ...] = ()
    origin: tuple[float, ...] = ()
    aligned: bool = True  # axes parallel to those of space
    data_at: int = field(default=0)

    @property
    def is_sequence(self) -> bool:
        """Whether the file is a sequence of images and not one volume."""
        return bool(self.frames) or "list" in self.kinds or any(o in self.fields for o in ORIENTATION_FIELDS)

    @property
    def custom(self) -> dict[str, str]:
        """The fields of the file that its format does not define."""
        known = NRRD_FIELDS if self.format == "NRRD" else META_FIELDS
        return {key: value for key, value in self.fields.items() if key not in known}


ORIENTATION_FIELDS = ("UltrasoundImageOrientation", "ultrasound image orientation")


def read_header(file: BinaryIO, name: str) -> Header:
    """Read the header; ``file`` is left at the first byte of the pixels."""
    start = file.read(4)
    file.seek(0)
    return _read_nrrd(file, name) if start == b"NRRD" else _read_meta(file, name)


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Header lines up to ``ElementDataFile`` (MetaImage) or the empty line (NRRD), which is not included; one in memory."""
    total = 0
    for _ in range(MOST_LINES):
        line = file.readline(LONGEST_LINE)
        total += len(line)
        if not line.endswith(b"\n"):
            raise MalformedFile(f"{name}: the header has no end; the file was cut or is of another format")
        if total > LARGEST_HEADER:
            raise MalformedFile(f"{name}: the header is larger than {LARGEST_HEADER >> 20} MiB")
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text.strip():
            return
        yield text
        if text.startswith("ElementDataFile"):
            return
    raise MalformedFile(f"{name}: the header has more than {MOST_LINES} lines")


def _take(header: Header, key: str, value: str, name: str) -> None:
    found = _FRAME_FIELD.fullmatch(key)
    if found:
        header.frames.setdefault(int(found[1]), {})[sys.intern(found[2])] = value
        if len(header.frames) > MOST_FRAMES:
            raise MalformedFile(f"{name}: the header has fields of more than {MOST_FRAMES} frames")
    elif key.startswith("Seq_Frame"):
        raise MalformedFile(f"{name}: the header field {key[:60]!r} names no frame")
    else:
        header.fields[key] = value
        if len(header.fields) > MOST_FIELDS:
            raise MalformedFile(f"{name}: the header has more than {MOST_FIELDS} fields")


def _read_meta(file: BinaryIO, name: str) -> Header:
    header = Header("MetaImage", {}, {})
    for line in _lines(file, name):
        key, equals, value = line.partition("=")
        if not equals:
            raise MalformedFile(f"{name}: the header line {line[:60]!r} is not 'key = value'")
        _take(header, key.strip(), value.strip(), name)
    header.data_at = file.tell()
    fields = header.fields
    if "ElementDataFile" not in fields or "DimSize" not in fields:
        raise MalformedFile(f"{name}: the header lacks DimSize or ElementDataFile; this is no MetaImage file")
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise UnsupportedFile(f"{name}: the pixels lie in another file; save header and pixels as one .mha file")
    if not _true(fields.get("BinaryData", "True")):
        raise UnsupportedFile(f"{name}: the pixels are written as text; save them as binary data")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise UnsupportedFile(f"{name}: the images have {fields['ElementNumberOfChannels']} colours per pixel; save them as grey values")
    if fields.get("ElementType", "MET_UCHAR") not in _META_TYPES:
        raise UnsupportedFile(f"{name}: pixels of type {fields['ElementType']} are not read here; save them as MET_UCHAR or MET_USHORT")
    header.sizes = _whole(fields["DimSize"], name, "DimSize")
    sequence = bool(header.frames) or "UltrasoundImageOrientation" in fields
    default = ["domain"] * (len(header.sizes) - sequence) + ["list"] * sequence
    header.kinds = tuple(fields.get("Kinds", " ".join(default)).lower().split())
    swapped = _true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")))
    header.dtype = (">" if swapped else "<") + _META_TYPES[fields.get("ElementType", "MET_UCHAR")]
    header.encoding = "deflate" if _true(fields.get("CompressedData", "False")) else "raw"
    header.element_size = numbers(fields.get("ElementSize", ""), name, "ElementSize")
    header.spacing = numbers(fields["ElementSpacing"], name, "ElementSpacing") if "ElementSpacing" in fields else header.element_size
    header.origin = numbers(next((fields[k] for k in ("Offset", "Position", "Origin") if k in fields), ""), name, "Offset")
    matrix = next((fields[k] for k in ("TransformMatrix", "Rotation", "Orientation") if k in fields), "")
    header.aligned = _is_identity(numbers(matrix, name, "TransformMatrix"))
    return _checked(header, [fields.get("DistanceUnits", "")], name)


def _read_nrrd(file: BinaryIO, name: str) -> Header:
    header = Header("NRRD", {}, {})
    for line in islice(_lines(file, name), 1, None):
        if line.startswith("#"):
            continue
        found = re.fullmatch(r"(.+?)(:=|:)(.*)", line)
        if not found:
            raise MalformedFile(f"{name}: the header line {line[:60]!r} is not 'key: value'")
        value = found[3].strip()
        _take(header, found[1].strip(), _unescaped(value) if found[2] == ":=" else value, name)
    header.data_at = file.tell()
    fields = header.fields
    if "data file" in fields or "datafile" in fields:
        raise UnsupportedFile(f"{name}: the pixels lie in another file; save header and pixels as one .nrrd file")
    types = {alias: code for code, aliases in _NRRD_TYPES.items() for alias in aliases}
    if "sizes" not in fields or fields.get("type") not in types:
        raise UnsupportedFile(f"{name}: the header lacks sizes, or its type is not read here ({fields.get('type')}); use uint8 or uint16")
    if fields.get("encoding", "") not in _NRRD_ENCODINGS:
        raise UnsupportedFile(f"{name}: the encoding {fields.get('encoding')!r} is not read here; save it as raw or gzip")
    header.sizes = _whole(fields["sizes"], name, "sizes")
    header.kinds = tuple("domain" if k in _SPATIAL_KINDS else k for k in fields.get("kinds", "domain " * len(header.sizes)).lower().split())
    header.dtype = (">" if fields.get("endian") == "big" else "<") + types[fields["type"]]
    header.encoding = _NRRD_ENCODINGS[fields["encoding"]]
    directions = [numbers(d, name, "space directions") for d in re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))]
    header.aligned = all(not v for i, d in enumerate(directions) for j, v in enumerate(d) if i != j)
    along = [d[i] for i, d in enumerate(directions) if i < len(d)]
    spacings = numbers(fields.get("spacings", ""), name, "spacings")
    header.spacing = tuple(along) or tuple(step for step, kind in zip(spacings, header.kinds, strict=False) if kind == "domain")
    header.origin = numbers(fields.get("space origin", "").strip("()"), name, "space origin")
    of_axes = [unit for unit, kind in zip(_quoted(fields.get("units", "")), header.kinds, strict=False) if kind == "domain"]
    return _checked(header, [*_quoted(fields.get("space units", "")), *of_axes], name)


def lps_signs(header: Header, name: str) -> tuple[int, int, int]:
    """What x, y and z of the file are multiplied by to be LPS, as ours. ``UnsupportedFile`` where they are along no patient."""
    space = header.fields.get("space", "left-posterior-superior") if header.format == "NRRD" else "left-posterior-superior"
    if space.lower() not in LPS_SIGNS:
        raise UnsupportedFile(f"{name}: lies in space {space:.40}; save it in left-posterior-superior")
    return LPS_SIGNS[space.lower()]


def _checked(header: Header, units: list[str], name: str) -> Header:
    if not 2 <= len(header.sizes) <= 4 or len(header.kinds) != len(header.sizes):
        raise MalformedFile(f"{name}: sizes {header.sizes} do not fit the kinds of axes {header.kinds}")
    if not all(0 < n < 1 << 24 for n in header.sizes):
        raise MalformedFile(f"{name}: sizes {header.sizes} are not possible")
    for key in _SKIPS:
        if (value := header.fields.get(key, "0").strip()) != "0":
            raise UnsupportedFile(
                f"{name}: {key} is {value[:20]}: the pixels do not begin behind the header; save the file anew without it"
            )
    if other := next((unit for unit in units if unit.strip().lower() not in _MILLIMETRES), ""):
        raise UnsupportedFile(f"{name}: its lengths are in {other[:20]!r} and not in millimetres; save it in millimetres")
    return header


def _quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text) or text.split()


def numbers(text: str, name: str, what: str) -> tuple[float, ...]:
    """Numbers separated by blanks or commas; ``MalformedFile`` that names ``what`` for anything else."""
    try:
        return tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise MalformedFile(f"{name}: {what} is not a list of numbers: {text[:60]!r}") from None


def stated_range(fields: Mapping[str, str], largest: float) -> tuple[float, float] | None:
    """The lowest and the highest sample as the header states them; None where it does not, or not as values up to ``largest``."""
    low, high = fields.get("ElementMin", fields.get("min", "0")), fields.get("ElementMax", fields.get("max", ""))
    try:
        found = float(low), float(high)
    except ValueError:
        return None
    return found if 0 <= found[0] < found[1] <= largest else None


def _whole(text: str, name: str, what: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,9}( +\d{1,9})*", text.strip()):
        raise MalformedFile(f"{name}: {what} is not a list of whole numbers: {text[:60]!r}")
    return tuple(int(word) for word in text.split())


def _true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes")


def _is_identity(matrix: tuple[float, ...]) -> bool:
    side = round(len(matrix) ** 0.5)
    return all(v == float(i % (side + 1) == 0) for i, v in enumerate(matrix))


def _unescaped(value: str) -> str:
    return re.sub(r"\\(n|\\)", lambda found: "\n" if found[1] == "n" else "\\", value)
