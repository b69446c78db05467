"""What our frames know and PLUS has no field for, kept as JSON in `Sonosweep...` header fields, so that a sweep rereads as it was.

PLUS reads at most 1000 characters a header line, so longer texts are split over `Sonosweep`, `Sonosweep1`, `Sonosweep2` ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from edge.messages import Extras, Frame, Geometry

FIELD = "Sonosweep"
_PIECE = 800


class SweepKept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of the whole sweep. ``pose_source``: where exported poses come from when no tracker measured them."""

    boot_id: int
    sweep: int
    geometry: Geometry
    sample_range: tuple[float, float]
    pose_source: str = ""

    def restore(self, frame: Frame, sequence: int) -> Frame:
        """``frame`` with its number and what is common to the sweep."""
        return msgspec.structs.replace(frame, boot_id=self.boot_id, sweep=self.sweep, sequence=sequence, sample_range=self.sample_range)


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
