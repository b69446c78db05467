"""Files in and out: sweeps as an iterator of frames, finished volumes, crash-safe recordings.

One table of what can be read as a sweep; everything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edge.files.errors import (
    CannotWrite,
    MalformedFile,
    NoCalibration,
    NoFrames,
    NoPhysicalSpacing,
    UnknownFile,
    UnsupportedFile,
)
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
    "CannotWrite",
    "MalformedFile",
    "NoCalibration",
    "NoFrames",
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
    """A kind of sweep file: how it is called, its endings, its first bytes, and what opens it (path, PLUS configuration, probe)."""

    name: str
    endings: tuple[str, ...]
    starts: tuple[bytes, ...]
    open: Callable[[Path, Path | None, ProbeFile | None], SweepFile]


FORMATS = (
    Format("PLUS sequence, MetaImage", (".igs.mha", ".mha"), (b"ObjectType", b"NDims", b"Comment"), SequenceFile),
    Format("PLUS sequence, NRRD", (".igs.nrrd", ".nrrd"), (b"NRRD",), SequenceFile),
    Format("recording of sonosweep", (".mcap",), (b"\x89MCAP0\r\n",), RecordedSweep),
)


def open_sweep(path: Path, *, plus_config: Path | None = None, probe: Path | ProbeFile | None = None) -> SweepFile:
    """The sweep in ``path``, recognised by its first bytes, else by its ending.

    For sweeps with tracker transforms only: ``plus_config`` names a PLUS configuration (XML) with ImageToProbe, or ``probe`` a probe
    file of `sonosweep calibrate` (JSON) with ImageToProbe and the tracker's lag, which goes before.
    ``UnknownFile`` (with a list of what can be read), ``UnsupportedFile``, ``MalformedFile``, ``NoCalibration``, ``ProbeDoesNotFit``.
    """
    path = Path(path)
    made = read_probe(Path(probe)) if isinstance(probe, Path | str) else probe
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as wrong:
        raise UnknownFile(f"{path}: {wrong.strerror}; name a sweep file") from wrong
    for known in FORMATS:
        if start.startswith(known.starts):
            return known.open(path, plus_config, made)
    for known in FORMATS:
        if path.name.lower().endswith(known.endings):
            return known.open(path, plus_config, made)
    readable = "; ".join(f"{known.name} ({', '.join(known.endings)})" for known in FORMATS)
    raise UnknownFile(f"{path}: is not a sweep that can be read; there are {readable}")
