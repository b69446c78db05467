"""Sweeps with known contents, and the outside programs that check what we make of them."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from synthetic_frames import frame

from edge.dicom.exam import Exam
from edge.dicom.objects import Origin
from edge.dicom.probe_facts import ProbeFacts
from edge.files.recording import RecordingWriter
from edge.files.volumes import Volume, companion_path, write_volume
from edge.messages import Extras
from edge.tablet.library import Library, Record

OUTPUT = {"mechanical_index": 0.7, "thermal_index": 0.4, "depth_mm": 40.0, "focus_mm": (20.0,)}
POSE = np.array([[0, 0.2, 0, -310], [0, 0, 1, 220], [0.1, 0, 0, -1400], [0, 0, 0, 1]])  # of 0.1 mm by 0.2 mm pixels, turned
SWEEP = "sweep_00000000000000aa_0001"
EXAM = {
    "patient_name": "Zyblikiewicz, Eve",
    "patient_id": "PAT-778899",
    "birth_date": "1961-04-05",
    "sex": "F",
    "accession": "ACC-31337",
    "operator": "Quimby, Nurse",
    "body_part": "leg",
    "side": "left",
    "notes": "Lump behind the knee",
}
FACTS = ProbeFacts(0.7, 0.4, 40.0, (20.0, 30.0), (750.0, 850.0), 12.5, 6.6, (19.0, 0.0), "linear")
ORIGIN = Origin("network: small", "+", "operator")
SPACING_MM, ORIGIN_MM = 0.1 + 0.2, (-3.123456789012, 2.25, 1e5 / 7)


def exam(**changes) -> Exam:
    values = {"sweep": SWEEP, "created": "2026-11-27T17:00:00Z", "fields": EXAM}
    return Exam(**(values | changes))


def phantom() -> Volume:
    """A letter F in each axis: no reflection and no exchange of axes maps it onto itself."""
    voxels = np.zeros((9, 12, 15), np.uint8)
    voxels[1:8, 2, 3] = 50
    voxels[2, 2:11, 3] = 100
    voxels[2, 2, 3:14] = 150
    voxels[7, 9, 12] = 255
    return Volume(voxels, ORIGIN_MM, SPACING_MM, {"channel": "ultrasound", "motion": "network: small", "direction": "+"})


def put_sweep(library: Library, sweep: str, fields: dict[str, str], direction_source: str = "operator", frames: int = 4) -> None:
    """A saved sweep with both channels, a recording and a picture."""
    path = library.volumes / f"{sweep}_0.nrrd"
    for channel, where in (("ultrasound", path), ("photoacoustic", companion_path(path, "photoacoustic"))):
        made = phantom()
        write_volume(where, Volume(made.intensity, made.origin_mm, made.spacing_mm, made.metadata | told(channel, direction_source)))
    writer = RecordingWriter(library.recordings / f"{sweep}_0.mcap", {})
    for number in range(frames):
        writer.append(frame(number, extras=Extras(mechanical_index=0.5 + 0.1 * (number == 2), thermal_index=0.2, focus_mm=(20.0,))))
        writer.append(frame(number + 1000, modality="photoacoustic", wavelength_nm=750.0 + 100 * (number % 2)))
    writer.finish("last")
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (33, 21, 3), dtype=np.uint8)).save(library.volumes / f"{sweep}_0-view.png")
    record = Record(id=sweep, state="saved", created="2026-11-27T17:00:00Z", exam=fields, motion="network: small", direction="+")
    record.direction_source, record.duration_s, record.clock_trusted = direction_source, 6.6, True
    library.write(record)


def told(channel: str, direction_source: str) -> dict[str, str]:
    return {"channel": channel, "direction_source": direction_source}


def needs(program: str, package: str) -> str:
    """The program's path; the test is skipped where it is not installed."""
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not installed (apt install {package})")
    return found


def verify(path) -> list[str]:
    """What dciodvfy says of a file: the lines that are errors."""
    answer = subprocess.run([needs("dciodvfy", "dicom3tools"), "-new", path], capture_output=True, text=True, timeout=60, check=False)
    return [line for line in answer.stderr.splitlines() if line.startswith("Error")]
