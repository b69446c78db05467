"""HDF5 files, warily: the only place that knows h5py. Nothing outside the file is followed, and nothing becomes larger than it may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge.files.errors import LibraryMissing, MalformedFile, UnsupportedFile
from edge.files.payload import DEFLATE_AT_BEST

LARGEST_CHUNK_BYTES = 128 << 20  # a chunk is inflated whole, for however little of it
FILTERS = {1, 2, 3, 32000}  # deflate, shuffle, Fletcher's checksum, LZF


def library(why: str = "HDF5 files need h5py") -> Any:
    """h5py; ``LibraryMissing`` where it is not installed."""
    try:
        import h5py
    except ImportError as missing:
        raise LibraryMissing(f"{why}: pip install 'sonosweep[hdf5]'") from missing
    return h5py


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file to read; whatever its library says of a damaged one is ``MalformedFile``."""
    h5py = library(f"{path}: HDF5 needs h5py")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, MemoryError, IndexError) as wrong:
        raise MalformedFile(f"{path}: is no HDF5 file that can be read: {str(wrong)[:200]}") from wrong


def dataset(path: Path, file: Any, name: str, kinds: str, shape: tuple[int | None, ...]) -> Any:
    """The array ``name``: of a kind in ``kinds`` (numpy's letters) and a shape (None: any size). ``MalformedFile``, ``UnsupportedFile``."""
    h5py = library()
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise MalformedFile(f"{path}: has no array {name} of its own")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in kinds or found.ndim != len(shape):
        raise MalformedFile(f"{path}: {name} is no array of {len(shape)} axes of numbers")
    if any(want is not None and want != size for want, size in zip(shape, found.shape, strict=True)):
        raise MalformedFile(f"{path}: {name} has the shape {found.shape}, not {shape}")
    plist = found.id.get_create_plist()
    filters = {plist.get_filter(at)[0] for at in range(plist.get_nfilters())}
    if found.external or found.is_virtual or not filters <= FILTERS:
        raise UnsupportedFile(f"{path}: {name} lies in other files, or is packed by filters {sorted(filters - FILTERS)}; repack it")
    whole = int(np.prod(found.shape, dtype=object)) * found.dtype.itemsize
    if whole > found.id.get_storage_size() * (DEFLATE_AT_BEST if filters else 1):
        raise MalformedFile(f"{path}: {name} promises {whole} bytes, more than the file can hold; it was cut")
    if found.chunks and int(np.prod(found.chunks, dtype=object)) * found.dtype.itemsize > LARGEST_CHUNK_BYTES:
        raise UnsupportedFile(f"{path}: {name} is kept in pieces of over {LARGEST_CHUNK_BYTES >> 20} MiB; repack it")
    return found
