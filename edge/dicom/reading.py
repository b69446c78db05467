"""DICOM that others made: looked at before it is taken, refused by name, nothing of it inflated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from edge.dicom.errors import MalformedDicom
from edge.files.dicom_errors import MALFORMED, quiet

UID = re.compile(r"(0|[1-9]\d{0,38})(\.(0|[1-9]\d{0,38}))+")
LONGEST_UID = 64
LARGEST_OBJECT = 2 << 30
DEFERRED = 1 << 20  # bytes; longer elements are left on the disk while an object is looked at
UNDEFINED_LENGTH = 0xFFFFFFFF
_DICM_AT = 128


class Header(NamedTuple):
    """What names a stored object."""

    uid: str
    sop_class: str
    syntax: str


def is_uid(text: str) -> bool:
    """Whether it is a UID: digits and dots, no leading zeros, at most 64 characters."""
    return len(text) <= LONGEST_UID and UID.fullmatch(text) is not None


def read_header(path: Path) -> Header:
    """The names of the object in a file, all of whose elements can be walked. ``MalformedDicom``."""
    size = path.stat().st_size
    if size > LARGEST_OBJECT:
        raise MalformedDicom(f"{path.name}: has {size >> 20} MiB, and {LARGEST_OBJECT >> 20} is the most")
    with path.open("rb") as file:
        start = file.read(_DICM_AT + 4)
    if start[_DICM_AT:] != b"DICM":
        raise MalformedDicom(f"{path.name}: is no DICOM file (it has no DICM at byte {_DICM_AT})")
    try:
        with quiet():
            syntax = str(read_file_meta_info(path).TransferSyntaxUID)
            if syntax == DeflatedExplicitVRLittleEndian:
                raise MalformedDicom(f"{path.name}: is deflated, and nothing is inflated here; send it uncompressed")
            ds = dcmread(path, defer_size=DEFERRED)
            _walk(ds, size)
            found = Header(str(ds.SOPInstanceUID), str(ds.SOPClassUID), syntax)
            same = str(ds.file_meta.MediaStorageSOPInstanceUID) == found.uid
    except MALFORMED as wrong:
        raise MalformedDicom(f"{path.name}: is no DICOM object that can be read: {str(wrong) or type(wrong).__name__}") from wrong
    if "PixelData" not in ds:
        raise MalformedDicom(f"{path.name}: holds no pixels; it was cut, or is no image")
    if not all(map(is_uid, found)) or not same:
        raise MalformedDicom(f"{path.name}: names itself by no valid UID, or by two")
    return found


def _walk(ds: Dataset, size: int) -> None:
    """Every element as a value of its kind, but for those left on the disk, which must end within the file."""
    for tag in list(ds.keys()):
        raw = ds.get_item(tag, keep_deferred=True)
        if isinstance(raw, RawDataElement) and raw.length != UNDEFINED_LENGTH:
            if raw.value is None and raw.length:
                if raw.value_tell + raw.length > size:
                    raise EOFError(f"it ends within the element {tag}")
                continue
            if len(raw.value or b"") != raw.length:
                raise EOFError(f"it ends within the element {tag}")
        element = ds[tag]
        if element.VR == "SQ":
            for item in element.value:
                for _ in item.iterall():
                    pass
