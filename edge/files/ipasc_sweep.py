"""Photoacoustic frames of IPASC's HDF5 as a sweep, where its lines are formed: as `edge.files.ipasc` writes them, or PACFISH copies them.

The format is for the raw series of detectors, which are no images until somebody reconstructs them; those are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.files.errors import MalformedFile, UnsupportedFile
from edge.files.hdf5 import dataset, opened
from edge.files.ipasc import FORMED, POSE_ORIGIN, SAMPLE_RANGE
from edge.files.sweep import SweepFile
from edge.messages import BadGeometry, Extras, Frame, Geometry
from edge.transform import BadTransform, Transform

SERIES = "binary_time_series_data"
LATEST_S = 9.2e9  # since 1970 or since the probe began: what nanoseconds in 64 bits hold
LONGEST_TEXT = 200  # letters
LONGEST_WAVELENGTH_NM = 20_000.0
DEPTHS_AGREE = 1e-3  # relative: of the field of view, and of samples at the speed of sound
Floats = NDArray[np.float64]


class BadIpasc(MalformedFile):
    """A file contradicts IPASC's layout or itself."""


class RawSeries(UnsupportedFile):
    """An IPASC file holds what its detectors heard, and no images."""


class IpascSweep(SweepFile):
    """Frames in the order of their times; each wavelength of an instant has its own time, energy and pose."""

    kind = "ipasc.h5"

    def __init__(self, path: Path) -> None:
        """``LibraryMissing``, ``RawSeries``, ``BadIpasc``, ``MalformedFile``, ``UnsupportedFile``."""
        self.path = path
        with opened(path) as file:
            series = _series(path, file)
            width, height, colours, instants = series.shape
            self._check_formed(file, width)
            count = colours * instants
            self._geometry = _geometry(path, file, width, height)
            self._black, self._white = _numbers(path, file, SAMPLE_RANGE, 2).tolist()
            most = np.iinfo(series.dtype).max
            self._wavelengths_nm = 1e9 * _numbers(path, file, "acquisition_wavelengths", colours)
            self._times_s = _numbers(path, file, "measurement_timestamps", count)
            self._energies_mj = 1e3 * _numbers(path, file, "pulse_energy", count) if _has(file, "pulse_energy") else None
            self._poses = _poses(path, file, count) if _has(file, "measurement_spatial_poses") else None
            origin = [_text(path, file, name) if _has(file, name) else "" for name in POSE_ORIGIN]
        if not 0 <= self._black < self._white <= most:
            raise BadIpasc(f"{path}: black and white must rise within 0 to {most}, and {SAMPLE_RANGE} is {self._black:g}, {self._white:g}")
        if not ((self._wavelengths_nm >= 0) & (self._wavelengths_nm < LONGEST_WAVELENGTH_NM)).all():
            raise BadIpasc(f"{path}: acquisition_wavelengths are no wavelengths in metres")
        if not ((self._times_s >= 0) & (self._times_s < LATEST_S)).all():
            raise BadIpasc(f"{path}: measurement_timestamps are no times in seconds")
        if self._energies_mj is not None and (self._energies_mj < 0).any():
            raise BadIpasc(f"{path}: a pulse_energy is below 0")
        self.pose_source, self.direction, self.direction_source = origin
        self.frame_count, self.has_poses = count, self._poses is not None
        seconds = float(np.ptp(self._times_s))
        self.frames_per_s = (count - 1) / seconds if seconds > 0 else None
        self.description = {"wavelengths_nm": self._wavelengths_nm.round(3).tolist()}

    @property
    def geometry(self) -> Geometry:
        """Of every frame."""
        return self._geometry

    def frames(self) -> Iterator[Frame]:
        """See :class:`SweepFile`."""
        colours = len(self._wavelengths_nm)
        with opened(self.path) as file:
            series = _series(self.path, file)
            for sequence, at in enumerate(np.argsort(self._times_s, kind="stable").tolist()):
                instant, colour = divmod(at, colours)
                energy = None if self._energies_mj is None else float(self._energies_mj[at])
                yield Frame(
                    boot_id=0,
                    sweep=0,
                    sequence=sequence,
                    timestamp_ns=round(float(self._times_s[at]) * 1e9),
                    modality="photoacoustic",
                    wavelength_nm=round(float(self._wavelengths_nm[colour]), 3),
                    geometry=self._geometry,
                    sample_range=(self._black, self._white),
                    pose_status="missing" if self._poses is None else "ok",
                    image_to_reference=None if self._poses is None else tuple(self._poses[at].ravel().tolist()),
                    pose_source=self.pose_source,
                    pose_direction=self.direction,
                    pose_direction_source=self.direction_source,
                    extras=Extras(laser_energy_mj=energy),
                    pixels=np.ascontiguousarray(series[:, :, colour, instant].T),
                )

    def _check_formed(self, file: Any, detectors: int) -> None:
        kind = _text(self.path, file, "dimensionality")
        if kind != "time" or not _has(file, FORMED):
            what = f"the series of {detectors} detectors" if kind == "time" else f"data over {kind!r}, whose axes the format leaves open"
            raise RawSeries(f"{self.path}: holds {what}, and no formed images; reconstruct them, and give images with their pixel size")


def _series(path: Path, file: Any) -> Any:
    series = dataset(path, file, SERIES, "u", (None, None, None, None))
    width, height, colours, instants = series.shape
    if series.dtype.str not in ("|u1", "<u2") or not (2 <= width <= 4096 and 2 <= height <= 4096 and colours and instants):
        raise BadIpasc(f"{path}: {SERIES} {series.dtype} {series.shape} is not [detectors, samples, wavelengths, instants] of 8 or 16 bits")
    return series


def _geometry(path: Path, file: Any, width: int, height: int) -> Geometry:
    rate, speed = (float(_numbers(path, file, name)) for name in ("ad_sampling_rate", "speed_of_sound"))
    left, right, _, _, top, bottom = _numbers(path, file, "field_of_view", 6, group="meta_data_device/general/")
    if not (rate > 0 and speed > 0) or not np.isclose(height * speed / rate, bottom - top, rtol=DEPTHS_AGREE):
        raise BadIpasc(f"{path}: {height} samples of {rate:g} Hz at {speed:g} m/s are not the depth of its field_of_view")
    geometry = Geometry(width=width, height=height, spacing_mm=(float(right - left) * 1000 / width, speed / rate * 1000))
    try:
        geometry.check()
    except BadGeometry as wrong:
        raise BadIpasc(f"{path}: {wrong}") from wrong
    return geometry


def _poses(path: Path, file: Any, count: int) -> Floats:
    """[count, 4, 4], pixels to millimetres."""
    matrices = _numbers(path, file, "measurement_spatial_poses", count, 16).reshape(-1, 4, 4)
    matrices[:, :3, :] *= 1000
    try:
        return np.stack([Transform("Image", "Reference", matrix).matrix for matrix in matrices])
    except BadTransform as wrong:
        raise BadIpasc(f"{path}: {str(wrong)[:200]}") from wrong


def _has(file: Any, name: str) -> bool:
    return f"meta_data/{name}" in file


def _numbers(path: Path, file: Any, name: str, *shape: int, group: str = "meta_data/") -> Floats:
    """Finite numbers [*shape]; PACFISH drops the axes of length 1 from what it copies."""
    squeezed = tuple(size for size in shape if size != 1)
    there = getattr(file.get(group + name), "shape", None)
    found = np.asarray(dataset(path, file, group + name, "fiu", squeezed if there == squeezed else shape)[()], np.float64)
    if not np.isfinite(found).all():
        raise BadIpasc(f"{path}: {name} holds what is no number")
    return found.reshape(shape)


def _text(path: Path, file: Any, name: str) -> str:
    value = dataset(path, file, f"meta_data/{name}", "OS", ())[()]
    if not isinstance(value, bytes) or len(value) > LONGEST_TEXT:
        raise BadIpasc(f"{path}: {name} is no text")
    return value.decode()
