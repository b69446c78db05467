"""The images of a sequence file as they lie in it: one after the other, or pixel by pixel (3D Slicer's `.seq.nrrd`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.files.errors import MalformedFile, UnsupportedFile
from edge.files.headers import Header
from edge.files.payload import DEFLATE_AT_BEST, Payload

WHITEST = {"u1": 255.0, "u2": 65535.0}
LARGEST_SIDE = 4096
LARGEST_WHOLE = 1 << 30  # bytes of images that lie pixel by pixel, and are held until they are turned


class Layout(NamedTuple):
    """``by_pixel``: the first pixels of all images come first."""

    width: int
    height: int
    images: int
    by_pixel: bool


def layout_of(header: Header, path: Path) -> Layout:
    """``UnsupportedFile`` for what is no sequence of grey images of 8 or 16 bit."""
    if not header.is_sequence:
        raise UnsupportedFile(f"{path}: is one volume and not a sweep; see it with `sonosweep info`")
    if header.dtype[1:] not in WHITEST:
        raise UnsupportedFile(f"{path}: samples of type {header.dtype} are not read here; save the sweep as 8 or 16 bit without sign")
    domain = [at for at, kind in enumerate(header.kinds) if kind == "domain"]
    listed = [at for at, kind in enumerate(header.kinds) if kind in ("list", "time")]
    if len(domain) == 3 and not listed:
        listed = [domain.pop()]
    rest = set(range(len(header.sizes))) - {*domain[:2], *listed}
    if len(domain) < 2 or len(listed) > 1 or any(header.sizes[at] > 1 for at in rest):
        raise UnsupportedFile(f"{path}: is not a sequence of grey 2D images (sizes {header.sizes}, axes {header.kinds})")
    width, height = (header.sizes[at] for at in domain[:2])
    if max(width, height) > LARGEST_SIDE:
        raise UnsupportedFile(f"{path}: images of {width} x {height} pixels are larger than the 4096 x 4096 that are read here")
    count = header.sizes[listed[0]] if listed else 1
    layout = Layout(width, height, count, bool(listed) and math.prod(header.sizes[listed[0] + 1 :]) > 1)
    size = width * height * count * np.dtype(header.dtype).itemsize
    if layout.by_pixel and size > LARGEST_WHOLE:
        raise UnsupportedFile(f"{path}: its {size >> 20} MiB lie pixel by pixel (list axis first); save it with the list axis last")
    return layout


def stored_images(path: Path, header: Header, layout: Layout) -> Iterator[NDArray[Any]]:
    """Each [rows, columns], in the file's orientation and byte order. ``MalformedFile`` where it is cut."""
    stored = np.dtype(header.dtype)
    size = layout.width * layout.height * stored.itemsize
    with path.open("rb") as file:
        file.seek(header.data_at)
        payload = Payload(file, header.encoding, str(path))
        if not layout.by_pixel:
            for index in range(layout.images):
                data = payload.exactly(size, f"image {index} of {layout.images}")
                yield np.frombuffer(data, stored).reshape(layout.height, layout.width)
            return
        if size * layout.images > (path.stat().st_size - header.data_at) * (1 if header.encoding == "raw" else DEFLATE_AT_BEST):
            raise MalformedFile(f"{path}: is too short for {layout.images} images; it was cut or copied incompletely")
        whole = np.frombuffer(payload.exactly(size * layout.images, "the images"), stored).reshape(header.sizes[::-1])
        at = next(at for at, kind in enumerate(reversed(header.kinds)) if kind in ("list", "time"))
        yield from np.moveaxis(whole, at, 0).reshape(layout.images, layout.height, layout.width)
