"""Finished volumes as files that 3D Slicer, ITK-SNAP and SimpleITK open: `.nrrd`, `.mha`, `.nii.gz`. The same volume gives the same bytes.

Voxel (i, j, k) lies at origin_mm + spacing_mm * (i, j, k), in all three formats. The axes of Reference are written as LPS (which is
what the tools assume); they are not anatomical unless the reference marker was.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge.atomic import replacing
from edge.files.errors import CannotWrite, MalformedFile, UnknownFile, UnsupportedFile
from edge.files.headers import META_FIELDS, NRRD_FIELDS, lps_signs, read_header
from edge.files.payload import DEFLATE_AT_BEST, Payload

ZLIB_LEVEL = 1
STATES = {0: "empty", 1: "measured", 2: "interpolated between two frames", 3: "hole-filled"}
_SIZE_DIGITS = 20


@dataclass(frozen=True)
class Volume:
    """A dense grid in Reference. ``intensity`` and ``state`` uint8 [k, j, i]; spacing isotropic; ``origin_mm`` of voxel (0, 0, 0).

    ``metadata`` keys are words (letters, digits, ``_``), values one line of text each. ``state`` may be empty (0 voxels).
    """

    intensity: NDArray[np.uint8]
    origin_mm: tuple[float, float, float]
    spacing_mm: float
    metadata: dict[str, str] = field(default_factory=dict)
    state: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint8))


@dataclass(frozen=True)
class StoredVolume:
    """A volume as a file has it: ``voxels`` [k, j, i] of any type, ``origin_mm`` and ``spacing_mm`` by axis (x, y, z)."""

    path: Path
    kind: str
    voxels: NDArray[Any]
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    metadata: dict[str, str]


def check_volume_path(path: Path) -> None:
    """``UnknownFile`` unless a volume can be written under this name: for asking before the work and not after it."""
    if _split_name(path)[1] not in _WRITERS:
        raise UnknownFile(f"{path}: NIfTI volumes are written compressed; name the file .nii.gz")


def write_volume(path: Path, volume: Volume) -> tuple[Path, ...]:
    """Write the intensities to ``path`` (its ending chooses the format) and the voxel states beside it, each whole or not at all.

    Answers the paths written: one, or two where the volume has states.
    """
    _write(path, volume)
    if not volume.state.size:
        return (path,)
    return path, write_state(path, volume)


def write_state(path: Path, volume: Volume) -> Path:
    """Write only the voxel states (0 empty, 1 measured, 2 interpolated, 3 filled), a label volume named ``<stem>-state``."""
    labels = "; ".join(f"{number} {meaning}" for number, meaning in STATES.items())
    beside = state_path(path)
    _write(beside, replace(volume, intensity=volume.state, metadata={**volume.metadata, "state_labels": labels}))
    return beside


def read_volume(path: Path) -> Volume:
    """Read a volume as we write them: uint8, isotropic, and its states where a ``<stem>-state`` file lies beside it."""
    stored = read_stored(path)
    step = stored.spacing_mm[0]
    if stored.voxels.dtype != np.uint8 or not np.allclose(stored.spacing_mm, step):
        raise UnsupportedFile(f"{path}: is no volume of ours ({stored.voxels.dtype}, spacing {stored.spacing_mm} mm)")
    beside = state_path(path)
    state = read_stored(beside).voxels if beside.exists() else np.zeros((0, 0, 0), np.uint8)
    if state.size and state.shape != stored.voxels.shape:
        raise UnsupportedFile(f"{beside}: has another size than {path.name}; remove the one that is out of date")
    return Volume(stored.voxels, stored.origin_mm, step, stored.metadata, state)


def state_path(path: Path) -> Path:
    """``leg.nii.gz`` to ``leg-state.nii.gz``."""
    return companion_path(path, "state")


def companion_path(path: Path, what: str) -> Path:
    """The file of the same volume that lies beside ``path``: ``leg.0318.nii.gz`` and ``state`` to ``leg.0318-state.nii.gz``."""
    stem, ending = _split_name(path)
    return path.with_name(f"{stem}-{what}{ending}")


def volume_stem(path: Path) -> str:
    """``leg.0318.nii.gz`` to ``leg.0318``. ``UnknownFile`` for what is named as no volume."""
    return _split_name(path)[0]


def is_volume(path: Path) -> bool:
    """Whether ``path`` is a file of one volume, as far as its header goes: not a sweep, nor anything else of that name."""
    if not path.is_file():
        return False
    if _split_name(path)[1] in (".nii.gz", ".nii"):
        return True
    try:
        with path.open("rb") as file:
            return not read_header(file, str(path)).is_sequence
    except (MalformedFile, UnsupportedFile):
        return False


def read_stored(path: Path) -> StoredVolume:
    """Read a volume of one of the formats, ours or not. ``UnsupportedFile`` where its axes are turned against those of space."""
    _, ending = _split_name(path)
    if ending in (".nii.gz", ".nii"):
        from edge.files import nifti  # nibabel takes 0.3 s to import, and the services never need it

        return StoredVolume(path, "nifti", *nifti.read(path))
    with path.open("rb") as file:
        header = read_header(file, str(path))
        if header.is_sequence:
            raise UnsupportedFile(f"{path}: is a sweep and not a volume")
        if header.kinds != ("domain",) * 3 or not header.aligned:
            what = f"sizes {header.sizes}, axes {header.kinds}"
            raise UnsupportedFile(f"{path}: is not one grey volume with axes along those of space ({what})")
        dtype = np.dtype(header.dtype)
        payload = Payload(file, header.encoding, str(path))
        size = math.prod(header.sizes) * dtype.itemsize
        if size > (path.stat().st_size - header.data_at) * (1 if header.encoding == "raw" else DEFLATE_AT_BEST):
            raise MalformedFile(f"{path}: is too short for {header.sizes} voxels; it was cut or copied incompletely")
        voxels = np.frombuffer(payload.exactly(size, "the voxels"), dtype).reshape(header.sizes[::-1])
    kind, signs = "nrrd" if header.format == "NRRD" else "mha", lps_signs(header, str(path))
    return StoredVolume(path, kind, voxels, _three(header.origin, 0.0, signs), _three(header.spacing, 1.0, signs), header.custom)


def _three(values: tuple[float, ...], default: float, signs: tuple[int, int, int]) -> tuple[float, float, float]:
    x, y, z = (sign * value for sign, value in zip(signs, values if len(values) == 3 else (default,) * 3, strict=True))
    return x, y, z


def _split_name(path: Path) -> tuple[str, str]:
    for ending in (*_WRITERS, ".nii"):
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.name[: -len(ending)], path.name[-len(ending) :].lower()
    raise UnknownFile(f"{path}: a volume's name ends with one of {', '.join(_WRITERS)}")


def _write(path: Path, volume: Volume) -> None:
    check_volume_path(path)
    _check(path, volume.intensity, volume.metadata)
    with replacing(path) as out:
        _WRITERS[_split_name(path)[1]](out, volume)


def _check(path: Path, voxels: NDArray[Any], metadata: Mapping[str, str]) -> None:
    if voxels.ndim != 3 or voxels.dtype != np.uint8 or not voxels.size:
        raise CannotWrite(f"{path}: a volume is uint8 [k, j, i] with at least one voxel, got {voxels.dtype} {voxels.shape}")
    for key, value in metadata.items():
        if not re.fullmatch(r"[A-Za-z]\w*", key, re.ASCII) or key in META_FIELDS or key in NRRD_FIELDS or key.startswith("Seq_Frame"):
            raise CannotWrite(f"{path}: {key!r} cannot name metadata; use letters, digits and _, and no field of the file format")
        if not value.isprintable() or value != value.strip() or not value:
            raise CannotWrite(f"{path}: the metadata {key} must be one line of text, got {value[:60]!r}")


def _deflate(out: BinaryIO, voxels: NDArray[Any], wbits: int) -> None:
    """Slice by slice: no second copy of the volume."""
    stream = zlib.compressobj(ZLIB_LEVEL, zlib.DEFLATED, wbits)
    for one in voxels:
        out.write(stream.compress(np.ascontiguousarray(one).data.cast("B")))
    out.write(stream.flush())


def _write_nrrd(out: BinaryIO, volume: Volume) -> None:
    size, step = volume.intensity.shape[::-1], repr(float(volume.spacing_mm))
    lines = [
        "NRRD0004",
        "type: uint8",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {size[0]} {size[1]} {size[2]}",
        f"space directions: ({step},0,0) (0,{step},0) (0,0,{step})",
        "kinds: domain domain domain",
        "encoding: gzip",
        f"space origin: ({','.join(repr(float(v)) for v in volume.origin_mm)})",
        'space units: "mm" "mm" "mm"',
        *(f"{key}:={value}".replace("\\", "\\\\") for key, value in volume.metadata.items()),
        "",
        "",
    ]
    out.write("\n".join(lines).encode())
    _deflate(out, volume.intensity, 16 + zlib.MAX_WBITS)  # a gzip member without a time or a name


def _write_meta(out: BinaryIO, volume: Volume) -> None:
    width, height, depth = volume.intensity.shape[::-1]
    step = repr(float(volume.spacing_mm))
    head = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
    ]
    tail = [
        "TransformMatrix = 1 0 0 0 1 0 0 0 1",
        f"Offset = {' '.join(repr(float(v)) for v in volume.origin_mm)}",
        "CenterOfRotation = 0 0 0",
        "AnatomicalOrientation = RAI",
        f"ElementSpacing = {step} {step} {step}",
        f"DimSize = {width} {height} {depth}",
        *(f"{key} = {value}" for key, value in volume.metadata.items()),
        "ElementType = MET_UCHAR",
        "ElementDataFile = LOCAL",
    ]
    out.write("\n".join(head).encode() + b"\n")
    size_at = out.tell()
    out.write(b"CompressedDataSize = " + b" " * _SIZE_DIGITS + b"\n" + "\n".join(tail).encode() + b"\n")
    data_at = out.tell()
    _deflate(out, volume.intensity, zlib.MAX_WBITS)
    size = out.tell() - data_at
    out.seek(size_at)
    out.write(f"CompressedDataSize = {size:<{_SIZE_DIGITS}}".encode())
    out.seek(0, 2)


def _write_nifti(out: BinaryIO, volume: Volume) -> None:
    from edge.files import nifti  # nibabel takes 0.3 s to import, and the services never need it

    nifti.write(out, volume.intensity, volume.origin_mm, volume.spacing_mm, volume.metadata)


_WRITERS: dict[str, Callable[[BinaryIO, Volume], None]] = {".nrrd": _write_nrrd, ".mha": _write_meta, ".nii.gz": _write_nifti}
