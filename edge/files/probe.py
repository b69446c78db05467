"""The probe file: what calibration found out about one probe in one setting, as JSON that the runtime reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edge.atomic import replacing
from edge.errors import SonosweepError
from edge.messages import BadGeometry, Geometry
from edge.transform import BadTransform, Transform

LARGEST_FILE = 1 << 20
SPACING_AGREES = 0.05  # relative; an image whose pixels differ by more was made at another depth
LARGEST_LAG_MS = 2000.0
CURE = "make one with `sonosweep calibrate spatial SEQUENCE --phantom XML -o PROBE.json`"


class BadProbeFile(SonosweepError):
    """A file is not a probe file."""


class ProbeDoesNotFit(SonosweepError):
    """A probe file was made for other images than those of the sweep, or the sweep has no use for it."""


class ErrorOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Errors in mm: mean and standard deviation, root mean square, and the size that 95 % stay below."""

    mean: float
    deviation: float
    rms: float
    p95: float


class SpatialErrors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far ImageToProbe is off on ``images`` of a phantom. ``outliers`` of the middle dots are left out of the errors."""

    images: int
    middle_dots: int
    outliers: int
    space_mm: ErrorOf
    out_of_plane_mm: ErrorOf
    in_plane_mm: ErrorOf
    lateral_mm: ErrorOf
    axial_mm: ErrorOf


class Spatial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where ImageToProbe comes from. ``validation``: on images that it was not made from, where there were any."""

    phantom: str
    sequence: str
    axes: Literal["free", "orthogonal", "isotropic"]
    axes_angle_deg: float
    registration_error_mm: float | None
    calibration: SpatialErrors
    validation: SpatialErrors | None = None


class Temporal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the lag was found. ``correlation`` at the lag, from -1 to 1; ``halves_ms``: the lag in either half of the sweep."""

    sequence: str
    signals: str
    correlation: float
    halves_ms: tuple[float, float]
    seconds: float
    date: str


class Scale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pixel spacing (lateral, axial) as declared and as measured on a phantom of known size."""

    sequence: str
    declared_mm: tuple[float, float]
    measured_mm: tuple[float, float]
    deviation_mm: tuple[float, float]
    images: int
    tolerance_percent: float
    passed: bool
    date: str


class ProbeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One probe at one setting. ``image_to_probe``: row-major 4x4, pixel indices of the MF image to mm of the tracked marker.

    ``lag_ms``: an image stamped t was taken where the tracker was at t + lag. ``geometry``: of the images it holds for.
    """

    kind: Literal["sonosweep-probe"] = "sonosweep-probe"
    format: Literal[1] = 1
    probe: str
    date: str
    geometry: Geometry
    image_to_probe: tuple[float, ...]
    lag_ms: float = 0.0
    spatial: Spatial | None = None
    temporal: Temporal | None = None
    scale: Scale | None = None

    @property
    def transform(self) -> Transform:
        """ImageToProbe"""
        return Transform("Image", "Probe", np.reshape(self.image_to_probe, (4, 4)))

    def check(self) -> None:
        """``BadProbeFile`` where a value is impossible."""
        try:
            self.geometry.check()
            if len(self.image_to_probe) != 16:
                raise BadTransform(f"ImageToProbe has {len(self.image_to_probe)} numbers and not 16")
            self.transform.inverse()
        except (BadGeometry, BadTransform) as wrong:
            raise BadProbeFile(f"{wrong}; {CURE}") from wrong
        if not (math.isfinite(self.lag_ms) and abs(self.lag_ms) <= LARGEST_LAG_MS):
            raise BadProbeFile(f"a lag of {self.lag_ms} ms is none; measure it with `sonosweep calibrate temporal`")

    def check_fits(self, name: str, width: int, height: int, spacing_mm: tuple[float, float] | None, depth_mm: float = 0.0) -> None:
        """``ProbeDoesNotFit`` for images of another size, spacing or depth; what is not known (None, 0) is not held against them."""
        mine = self.geometry
        cure = f"calibrate this setting, or name the probe file that was made for it (this is {self.probe}, {self.date})"
        if (width, height) != (mine.width, mine.height):
            raise ProbeDoesNotFit(f"{name}: images are {width} x {height}, the probe file is for {mine.width} x {mine.height}; {cure}")
        if spacing_mm is not None and not np.allclose(spacing_mm, mine.spacing_mm, rtol=SPACING_AGREES):
            told, made = (f"{lateral:.4g} x {axial:.4g} mm" for lateral, axial in (spacing_mm, mine.spacing_mm))
            raise ProbeDoesNotFit(f"{name}: pixels are {told}, the probe file is for {made}; {cure}")
        if depth_mm and mine.depth_mm and abs(depth_mm - mine.depth_mm) > SPACING_AGREES * mine.depth_mm:
            raise ProbeDoesNotFit(f"{name}: depth is {depth_mm:g} mm, the probe file is for {mine.depth_mm:g} mm; {cure}")


def read_probe(path: Path) -> ProbeFile:
    """The probe file at ``path``; ``BadProbeFile`` names it and what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadProbeFile(f"{path}: is larger than any probe file; {CURE}")
        probe = msgspec.json.decode(path.read_bytes(), type=ProbeFile)
    except OSError as wrong:
        raise BadProbeFile(f"{path}: {wrong.strerror}; {CURE}") from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise BadProbeFile(f"{path}: is no probe file: {wrong}; {CURE}") from wrong
    try:
        probe.check()
    except BadProbeFile as wrong:
        raise BadProbeFile(f"{path}: {wrong}") from wrong
    return probe


def write_probe(path: Path, probe: ProbeFile) -> None:
    """Whole or not at all, for people to read as well."""
    probe.check()
    with replacing(path) as out:
        out.write(msgspec.json.format(msgspec.json.encode(probe), indent=2) + b"\n")
