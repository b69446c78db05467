"""Files in and out: sweeps as an iterator of frames, finished volumes, crash-safe recordings.

One table of what can be read as a sweep; everything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edge.files.errors import (
    CannotWrite,
    LibraryMissing,
    MalformedFile,
    NoCalibration,
    NoFrames,
    NoImageArea,
    NoPhysicalSpacing,
    UnknownFile,
    UnsupportedFile,
)
from edge.files.hints import Crop, Hints, parse_crop
from edge.files.probe import BadProbeFile, ProbeDoesNotFit, ProbeFile, read_probe, write_probe
from edge.files.recorded import RecordedSweep
from edge.files.sequence import SequenceFile
from edge.files.sequence_writer import check_sweep_path, write_sweep
from edge.files.sweep import SweepFile

__all__ = [
    "open_sweep",
    "write_sweep",
    "check_sweep_path",
    "SweepFile",
    "SequenceFile",
    "FORMATS",
    "Crop",
    "parse_crop",
    "CannotWrite",
    "LibraryMissing",
    "MalformedFile",
    "NoCalibration",
    "NoFrames",
    "NoImageArea",
    "NoPhysicalSpacing",
    "UnknownFile",
    "UnsupportedFile",
    "ProbeFile",
    "read_probe",
    "write_probe",
    "BadProbeFile",
    "ProbeDoesNotFit",
]


class Format(NamedTuple):
    """A kind of sweep file: how it is called, its endings, its first bytes (from ``at`` on), and what opens it."""

    name: str
    endings: tuple[str, ...]
    starts: tuple[bytes, ...]
    open: Callable[[Path, Hints], SweepFile]
    at: int = 0


def _hdf5(path: Path, hints: Hints) -> SweepFile:
    from edge.files.hdf5 import opened  # these three bring libraries that the services do without
    from edge.files.ipasc_sweep import SERIES, IpascSweep
    from edge.files.tus_rec import TusRecSweep

    with opened(path) as file:
        photoacoustic = SERIES in file
    return IpascSweep(path) if photoacoustic else TusRecSweep(path, hints)


def _video(path: Path, hints: Hints) -> SweepFile:
    from edge.files.video import VideoSweep

    return VideoSweep(path, hints)


def _dicom(path: Path, hints: Hints) -> SweepFile:
    from edge.files.dicom_clip import DicomClip

    return DicomClip(path, hints)


def _sequence(path: Path, hints: Hints) -> SweepFile:
    return SequenceFile(path, hints.plus_config, hints.probe)


FORMATS = (
    Format("PLUS sequence, MetaImage", (".igs.mha", ".mha"), (b"ObjectType", b"NDims", b"Comment"), _sequence),
    Format("PLUS sequence, NRRD", (".igs.nrrd", ".nrrd"), (b"NRRD",), _sequence),
    Format("recording of sonosweep", (".mcap",), (b"\x89MCAP0\r\n",), lambda path, hints: RecordedSweep(path)),
    Format("photoacoustic frames of IPASC", (".ipasc.h5", ".ipasc.hdf5"), (b"\x89HDF\r\n\x1a\n",), _hdf5),
    Format("scan of TUS-REC", (".h5", ".hdf5"), (b"\x89HDF\r\n\x1a\n",), _hdf5),
    Format("DICOM ultrasound clip", (".dcm",), (b"DICM",), _dicom, at=128),
    Format("video", (".mp4", ".avi", ".mov", ".mkv"), (b"ftyp",), _video, at=4),
    Format("video", (".avi",), (b"AVI ",), _video, at=8),
)


def open_sweep(
    path: Path,
    *,
    plus_config: Path | None = None,
    probe: Path | ProbeFile | None = None,
    spacing_mm: tuple[float, float] | None = None,
    crop: Crop | None = None,
    calibration: Path | None = None,
) -> SweepFile:
    """The sweep in ``path``, recognised by its first bytes, else by its ending.

    For sweeps with tracker transforms only: ``plus_config`` names a PLUS configuration (XML) with ImageToProbe, or ``probe`` a probe
    file of `sonosweep calibrate` (JSON) with ImageToProbe and the tracker's lag, which goes before. ``spacing_mm`` (lateral, axial)
    and ``crop`` are for clips and videos that do not say them, ``calibration`` is TUS-REC's table.
    ``UnknownFile`` (with a list of what can be read), ``UnsupportedFile``, ``MalformedFile``, ``NoCalibration``, ``ProbeDoesNotFit``,
    ``LibraryMissing``.
    """
    made = read_probe(Path(probe)) if isinstance(probe, Path | str) else probe
    path, hints = Path(path), Hints(plus_config, made, spacing_mm, crop, calibration)
    try:
        with path.open("rb") as file:
            start = file.read(160)
    except OSError as wrong:
        raise UnknownFile(f"{path}: {wrong.strerror}; name a sweep file") from wrong
    for known in FORMATS:
        if start[known.at :].startswith(known.starts):
            return known.open(path, hints)
    for known in FORMATS:
        if path.name.lower().endswith(known.endings):
            return known.open(path, hints)
    readable = "; ".join(f"{known.name} ({', '.join(known.endings)})" for known in FORMATS)
    raise UnknownFile(f"{path}: is not a sweep that can be read; there are {readable}")
