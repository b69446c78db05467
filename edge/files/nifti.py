"""NIfTI files: the only place that knows nibabel. NIfTI is RAS, ours is LPS, so x and y change sign in the affine and nowhere else."""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from edge.files.errors import MalformedFile, UnsupportedFile
from edge.files.payload import DEFLATE_AT_BEST

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_IMAGE: Any = nibabel.Nifti1Image  # its methods carry no types
_MILLIMETRES = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
_COMMENT = 6  # the extension code of plain text; holds the metadata as JSON
ZLIB_LEVEL = 1


class _Gzip(io.RawIOBase):
    """A file object that deflates what is written, with neither time nor name in the gzip header."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__()
        self._out, self._at = out, 0
        self._stream = zlib.compressobj(ZLIB_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def write(self, data: Any) -> int:
        self._out.write(self._stream.compress(data))
        self._at += memoryview(data).nbytes
        return memoryview(data).nbytes

    def tell(self) -> int:
        return self._at

    def seek(self, position: int, whence: int = 0) -> int:
        """Forward only, as nibabel does to reach the voxels."""
        self.write(bytes(position - self._at))
        return self._at

    def finish(self) -> None:
        self._out.write(self._stream.flush())


def write(
    out: BinaryIO, voxels: NDArray[np.uint8], origin_mm: tuple[float, float, float], spacing_mm: float, metadata: Mapping[str, str]
) -> None:
    """``voxels`` [k, j, i]; metadata goes into a comment extension as JSON (readers without extensions drop it)."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = origin_mm
    image = _IMAGE(voxels.transpose(2, 1, 0), _LPS_TO_RAS @ affine)
    image.set_qform(_LPS_TO_RAS @ affine, code="scanner")
    image.set_sform(_LPS_TO_RAS @ affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"sonosweep"
    if metadata:
        text = json.dumps(dict(metadata)).encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(_COMMENT, text))
    pipe = _Gzip(out)
    image.to_stream(pipe)
    pipe.finish()


def read(path: Path) -> tuple[NDArray[Any], tuple[float, float, float], tuple[float, float, float], dict[str, str]]:
    """voxels [k, j, i], origin_mm and spacing_mm (x, y, z), metadata."""
    try:
        image = _IMAGE.from_filename(path)
        size = math.prod(map(int, image.shape)) * image.header.get_data_dtype().itemsize
        if size > path.stat().st_size * (DEFLATE_AT_BEST if path.name.lower().endswith(".gz") else 1):
            raise MalformedFile(f"{path}: is too short for {image.shape} voxels; it was cut or copied incompletely")
        voxels = np.asanyarray(image.dataobj).T
        unit_mm = _MILLIMETRES[image.header.get_xyzt_units()[0]]
    except KeyError as wrong:
        raise MalformedFile(f"{path}: its unit of length is code {wrong.args[0]}, which NIfTI does not have") from wrong
    except (ImageFileError, HeaderDataError, WrapStructError, OSError, ValueError, EOFError, MemoryError, zlib.error) as wrong:
        raise MalformedFile(f"{path}: is no readable NIfTI file: {wrong}") from wrong
    affine = _LPS_TO_RAS @ image.affine
    affine[:3] *= unit_mm
    steps = affine[:3, :3]
    if voxels.ndim != 3 or not np.allclose(steps, np.diag(np.diag(steps)), atol=1e-6 * np.abs(steps).max()):
        raise UnsupportedFile(f"{path}: is not one volume with axes along those of space")
    spacing, origin = np.diag(steps).tolist(), affine[:3, 3].tolist()
    return voxels, (origin[0], origin[1], origin[2]), (spacing[0], spacing[1], spacing[2]), _metadata(image)


def _metadata(image: Any) -> dict[str, str]:
    for extension in image.header.extensions:
        if extension.get_code() == _COMMENT:
            content = extension.get_content()
            try:
                found = json.loads(content if isinstance(content, str) else bytes(content).rstrip(b"\0").decode())
            except ValueError:
                continue
            if isinstance(found, dict):
                return {str(key): str(value) for key, value in found.items()}
    return {}
