"""The live image as the page gets it: the very image that is placed, as a grey JPEG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.compounding.scan_conversion import ScanTable
from edge.messages import Frame, Geometry
from edge.scan_geometry import scan_table


class LiveImages:
    """8-bit grey of frames, convex ones scan-converted (nearest sample: it is looked at, not placed), and their JPEGs."""

    def __init__(self) -> None:
        self._geometry: Geometry | None = None
        self._table: ScanTable | None = None

    def grey(self, frame: Frame) -> NDArray[np.uint8]:
        """uint8 [axial, lateral]. Raises BadSector for a geometry that cannot be drawn."""
        pixels, (black, white) = frame.pixels, frame.sample_range
        if pixels.dtype != np.uint8 or (black, white) != (0.0, 255.0):
            pixels = np.clip(np.rint((pixels.astype(np.float32) - black) * (255 / (white - black))), 0, 255).astype(np.uint8)
        if frame.geometry != self._geometry:
            self._table, self._geometry = scan_table(frame.geometry), frame.geometry
        if self._table is None:
            return pixels
        index = self._table.index
        return np.where(index >= 0, pixels.reshape(-1)[np.maximum(index, 0)], 0).astype(np.uint8)


def jpeg(grey: NDArray[np.uint8], quality: int) -> bytes:
    """``grey`` [axial, lateral] as a JPEG of ``quality``."""
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "JPEG", quality=quality)
    return out.getvalue()
