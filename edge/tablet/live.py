"""The live image as the gateway holds it: the newest one, drawn in grey, and what tablets are told of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.compounding.scan_conversion import BadSector
from edge.messages import Frame, Geometry
from edge.scan_geometry import placed_size
from edge.tablet.guide import FrameRate, contact
from edge.tablet.jpeg import LiveImages


class Live:
    """``hear`` each frame. ``heard_s``: when the newest came (CLOCK_MONOTONIC); ``undrawn``: by modality, why its newest has no picture."""

    def __init__(self) -> None:
        self.rate, self.heard_s = FrameRate(), -1e9
        self.frame: Frame | None = None
        self.undrawn: dict[str, str] = {}
        self._images = LiveImages()
        self._grey: NDArray[np.uint8] | None = None
        self._geometry: Geometry | None = None
        self._about: dict[str, Any] | None = None

    def hear(self, frame: Frame) -> bool:
        """Draw it; whether the probe touches somebody, True where the image does not tell."""
        self.heard_s = frame.received_ns / 1e9
        self.rate.add(self.heard_s)
        self.frame, self._grey, touching = frame, self._draw(frame), True
        if frame.modality == "bmode":
            self._about = self._geometry = None
            touching = self._grey is None or contact(self._grey, frame.geometry.spacing_mm[1])
        if self._about is None and self._grey is not None:
            height, width = self._grey.shape
            self._geometry = frame.geometry
            self._about = {
                "width": width,
                "height": height,
                "spacing_mm": frame.geometry.spacing_mm,
                "modality": frame.modality,
                "mechanical_index": frame.extras.mechanical_index,
                "thermal_index": frame.extras.thermal_index,
                "contact": touching,
            }
        return touching

    def image(self) -> tuple[Frame, NDArray[np.uint8]] | None:
        """The newest as (frame, grey [axial, lateral]); None before the first, or where it cannot be drawn."""
        return None if self.frame is None or self._grey is None else (self.frame, self._grey)

    def told(self, now_s: float, *, frozen: bool) -> dict[str, Any] | None:
        """For ``state``."""
        if self._about is None:
            return None
        age_ms = round(1e3 * (now_s - self.heard_s))
        return self._about | {"frames_per_s": round(self.rate.per_s(now_s), 1), "frozen": frozen, "age_ms": age_ms}

    def size(self) -> tuple[int, int]:
        """(columns, rows) of the newest that was drawn, ultrasound where there is any; zeros before."""
        return placed_size(self._geometry) if self._geometry is not None else (0, 0)

    def _draw(self, frame: Frame) -> NDArray[np.uint8] | None:
        try:
            grey = self._images.grey(frame)
        except BadSector as wrong:
            self.undrawn[frame.modality] = str(wrong)
            return None
        self.undrawn.pop(frame.modality, None)
        return grey
