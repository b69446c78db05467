"""Frames into a PLUS sequence (`.igs.mha`) that 3D Slicer, PLUS and SimpleITK read, and that we reread as the same frames."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge.atomic import make_folder, replacing
from edge.files.errors import CannotWrite
from edge.files.kept import FrameKept, SweepKept, split
from edge.messages import Frame
from edge.transform import Transform

RECORDED = "recorded"  # as edge/motion/recorded.py calls itself: the poses are those of the frames
ZLIB_LEVEL = 1  # on the leg sweep level 6 takes twice as long and saves nothing
_ELEMENT_TYPES = {"|u1": "MET_UCHAR", "<u2": "MET_USHORT"}


def check_sweep_path(path: Path) -> None:
    """``CannotWrite`` unless a sweep can be written under this name: for asking before the work and not after it."""
    if not path.name.endswith(".mha"):
        raise CannotWrite(f"{path}: a sweep is written as .igs.mha; choose such a name")


def write_sweep(
    path: Path,
    frames: Iterable[Frame],
    *,
    poses: Mapping[int, Transform] | None = None,
    pose_source: str = "",
    direction: str = "",
    direction_source: str = "",
) -> int:
    """Write ``frames`` (of one sweep and one geometry, linear) to ``path``, whole or not at all; answers how many.

    ``poses`` (frame sequence to ImageToReference) replaces the poses of the frames, for a sweep that was placed without a
    tracker; then ``pose_source`` must name what estimated them (a motion source's name), and ``direction`` and
    ``direction_source`` what it was told, so that nobody takes them for a tracker's. Without it, or with ``recorded``, the
    poses count as the frames' own. Numbers are written so that every bit of them is read back.
    ``CannotWrite`` for frames that one sequence cannot hold.
    """
    check_sweep_path(path)
    make_folder(path.parent)
    lines: list[str] = []
    first: Frame | None = None
    with tempfile.TemporaryFile(dir=path.parent) as payload:
        deflate = zlib.compressobj(ZLIB_LEVEL)
        for index, frame in enumerate(frames):
            first = first or frame
            _check(path, first, frame)
            payload.write(deflate.compress(np.ascontiguousarray(frame.pixels).data.cast("B")))
            lines += [f"Seq_Frame{index:04d}_{key} = {value}" for key, value in _frame_fields(frame, poses).items()]
        if first is None:
            raise CannotWrite(f"{path}: there is no frame to write")
        payload.write(deflate.flush())
        count = sum(line.partition("_")[2].partition("_")[2].startswith("FrameNumber ") for line in lines)
        posed = any(line.partition(" = ")[0].endswith("_ImageToReferenceTransform") for line in lines)
        header = {
            **_file_fields(first, count, payload.tell(), posed),
            **split(_sweep_kept(first, (pose_source, direction, direction_source))),
        }
        text = [*(f"{key} = {value}" for key, value in header.items()), *lines, "ElementDataFile = LOCAL", ""]
        payload.seek(0)
        with replacing(path) as out:
            out.write("\n".join(text).encode())
            shutil.copyfileobj(payload, out, 1 << 20)
    return count


def _check(path: Path, first: Frame, frame: Frame) -> None:
    if frame.geometry.kind != "linear":
        raise CannotWrite(f"{path}: frames of a convex probe are no images before they are scan-converted; a recording (.mcap) holds them")
    if frame.sweep_key != first.sweep_key:
        raise CannotWrite(f"{path}: frame {frame.sequence} belongs to another sweep; write each sweep to its own file")
    if frame.pose_origin != first.pose_origin:
        raise CannotWrite(f"{path}: the pose of frame {frame.sequence} comes from elsewhere than that of frame {first.sequence}")
    if (frame.geometry, frame.pixels.shape, frame.pixels.dtype, frame.sample_range) != (
        first.geometry,
        first.pixels.shape,
        first.pixels.dtype,
        first.sample_range,
    ):
        raise CannotWrite(f"{path}: frame {frame.sequence} has another size, spacing or sample type than frame {first.sequence}")
    if frame.pixels.shape != (frame.geometry.height, frame.geometry.width) or frame.pixels.dtype.str not in _ELEMENT_TYPES:
        raise CannotWrite(f"{path}: frame {frame.sequence} has pixels {frame.pixels.shape} {frame.pixels.dtype}, which its geometry denies")


def _sweep_kept(first: Frame, origin: tuple[str, str, str]) -> SweepKept:
    own = origin[0].partition(" (")[0] in ("", RECORDED)
    source, direction, direction_source = first.pose_origin if own else origin
    return SweepKept(
        boot_id=first.boot_id,
        sweep=first.sweep,
        geometry=first.geometry,
        sample_range=first.sample_range,
        pose_source=source,
        direction=direction,
        direction_source=direction_source,
    )


def _file_fields(first: Frame, count: int, payload_bytes: int, posed: bool) -> dict[str, Any]:
    """ImageToReference maps pixel indices, so it holds the size of a pixel. SlicerIGSIO's "Sequence Metafile" scales by ElementSpacing
    before it, so with poses that is 1 1 1, as PLUS writes it; without, nothing else tells MetaIO's readers (ITK, VTK) the size."""
    lateral, axial = first.geometry.spacing_mm
    size = f"{lateral!r} {axial!r} 1"
    return {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": True,
        "CompressedDataSize": payload_bytes,
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": "1 1 1" if posed else size,
        "ElementSize": size,
        "DimSize": f"{first.geometry.width} {first.geometry.height} {count}",
        "ElementNumberOfChannels": 1,
        "ElementType": _ELEMENT_TYPES[first.pixels.dtype.str],
        "UltrasoundImageOrientation": "MF",
        "UltrasoundImageType": "BRIGHTNESS",
        "Kinds": "domain domain list",
    }


def _frame_fields(frame: Frame, poses: Mapping[int, Transform] | None) -> dict[str, str]:
    fields: dict[str, str] = {}
    matrix, ok = frame.image_to_reference, frame.pose_status == "ok"
    if poses is not None:
        pose = poses.get(frame.sequence)
        matrix, ok = (None, False) if pose is None else (tuple(pose.matrix.ravel().tolist()), True)
    if matrix is not None:
        fields["ImageToReferenceTransform"] = " ".join(_exact(value) for value in matrix)
    if matrix is not None or (poses is None and frame.pose_status == "invalid"):
        fields["ImageToReferenceTransformStatus"] = "OK" if ok else "INVALID"
    whole_s, ns = divmod(abs(frame.timestamp_ns), 10**9)
    fields["FrameNumber"] = str(frame.sequence)
    fields["Timestamp"] = f"{'-' * (frame.timestamp_ns < 0)}{whole_s}.{ns:09d}"
    fields["ImageStatus"] = "OK"
    return {**fields, **split(FrameKept.of(frame))}


def _exact(value: float) -> str:
    """The shortest text that reads back as the same float64 (at most 17 significant digits)."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 and not (value == 0 and str(value)[0] == "-") else repr(value)
