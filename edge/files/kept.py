"""What our frames know and PLUS has no field for, kept as JSON in `Sonosweep...` header fields, so that a sweep rereads as it was.

PLUS reads at most 1000 characters a header line, so longer texts are split over `Sonosweep`, `Sonosweep1`, `Sonosweep2` ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from edge.files.errors import MalformedFile
from edge.messages import BadGeometry, Extras, Frame, Geometry

FIELD = "Sonosweep"
_PIECE = 800


class SweepKept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of the whole sweep. ``pose_source``, ``direction``, ``direction_source``: where the poses come from when no tracker measured them."""

    boot_id: int
    sweep: int
    geometry: Geometry
    sample_range: tuple[float, float]
    pose_source: str = ""
    direction: str = ""
    direction_source: str = ""

    def check(self, name: str, size: tuple[int, int], spacing_mm: tuple[float, float] | None, largest: float) -> None:
        """``MalformedFile`` unless this fits images of ``size`` (columns, rows), the header's spacing and samples up to ``largest``."""
        cure = f"the {FIELD} fields are of another sweep; remove them from the header"
        geometry, (black, white) = self.geometry, self.sample_range
        if (geometry.kind, geometry.width, geometry.height) != ("linear", *size):
            said = f"{geometry.kind} images of {geometry.width} x {geometry.height}"
            raise MalformedFile(f"{name}: the {FIELD} fields tell of {said} where there are images of {size[0]} x {size[1]}; {cure}")
        try:
            geometry.check()
        except BadGeometry as wrong:
            raise MalformedFile(f"{name}: {wrong}; {cure}") from wrong
        if spacing_mm and geometry.spacing_mm != spacing_mm:
            raise MalformedFile(f"{name}: the {FIELD} fields tell of {geometry.spacing_mm} mm pixels, the header of {spacing_mm}; {cure}")
        if not 0 <= black < white <= largest:
            raise MalformedFile(f"{name}: black {black:g} and white {white:g} must rise within 0 to {largest:g}; {cure}")
        if not (0 <= self.boot_id < 2**64 and 0 <= self.sweep < 2**32):
            raise MalformedFile(f"{name}: boot identifier {self.boot_id} or sweep {self.sweep} is out of range; {cure}")

    def restore(self, frame: Frame, sequence: int) -> Frame:
        """``frame`` with its number and what is common to the sweep."""
        return msgspec.structs.replace(
            frame,
            boot_id=self.boot_id,
            sweep=self.sweep,
            sequence=sequence,
            sample_range=self.sample_range,
            pose_source=self.pose_source,
            pose_direction=self.direction,
            pose_direction_source=self.direction_source,
        )


class FrameKept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of one frame."""

    received_ns: int = 0
    clock_offset_ns: int = 0
    modality: Literal["bmode", "photoacoustic"] = "bmode"
    wavelength_nm: float = 0.0
    extras: Extras = Extras()

    @classmethod
    def of(cls, frame: Frame) -> FrameKept:
        """What of ``frame`` PLUS has no field for."""
        return cls(**{name: getattr(frame, name) for name in cls.__struct_fields__})

    def restore(self, frame: Frame) -> Frame:
        """``frame`` with these values."""
        return msgspec.structs.replace(frame, **{name: getattr(self, name) for name in self.__struct_fields__})


def split(value: SweepKept | FrameKept) -> dict[str, str]:
    """Header fields that hold ``value``; none where all of it is default."""
    text = msgspec.json.encode(value).decode()
    if text == "{}":
        return {}
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    return {f"{FIELD}{n or ''}": piece for n, piece in enumerate(pieces)}


def unsplit(fields: Mapping[str, str]) -> str:
    """The JSON text in ``fields``; empty where there is none."""
    pieces: list[str] = []
    while (key := f"{FIELD}{len(pieces) or ''}") in fields:
        pieces.append(fields[key])
    return "".join(pieces)
