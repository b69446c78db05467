"""Sweeps, exams and a configuration for the tests of DICOM."""

import sys
from pathlib import Path

import pytest

from edge.config import DicomConfig
from edge.tablet.library import Library

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def config(tmp_path):
    """Of a device whose PACS is nowhere yet."""
    return DicomConfig(folder=str(tmp_path / "queue"), timeout_s=5.0, port=0, address="127.0.0.1", retry_s=1.0, longest_retry_s=8.0)


@pytest.fixture
def library(tmp_path):
    """A library with one saved sweep that has everything."""
    from dicom_cases import EXAM, SWEEP, put_sweep

    made = Library(tmp_path / "sweeps", tmp_path / "sweeps")
    put_sweep(made, SWEEP, EXAM)
    return made


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Three objects."""
    from dicom_cases import ORIGIN, exam, phantom
    from queue_cases import FACTS

    from edge.dicom.objects import write_object
    from edge.dicom.volumes import ultrasound_volume

    folder = tmp_path_factory.mktemp("objects")
    made = []
    for number in range(3):
        volume = phantom()
        volume.intensity[0, 0, 0] = number
        made.append(write_object(folder / f"{number}.dcm", ultrasound_volume(volume, exam(), ORIGIN, FACTS, DicomConfig())))
    return made
