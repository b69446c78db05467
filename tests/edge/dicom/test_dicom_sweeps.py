"""Which objects a sweep of the library, or a file, becomes: whose, of when, and what is refused by name."""

import time
from dataclasses import replace

import pydicom
import pytest
from dicom_cases import EXAM, FACTS, ORIGIN, POSE, SWEEP, exam, phantom, put_sweep, verify
from msgspec.structs import replace as replaced
from synthetic_frames import frame

from edge.app import main
from edge.config import DicomConfig
from edge.dicom.copies import plain_copy
from edge.dicom.errors import (
    NothingToWrite,
    SweepsApart,
    TransducerUnknown,
)
from edge.dicom.objects import Origin
from edge.dicom.sweeps import of_file, of_library, write_sweep
from edge.dicom.volumes import photoacoustic_image, ultrasound_volume
from edge.files import open_sweep
from edge.files.recording import RecordingWriter, write_recording
from edge.files.volumes import read_volume, write_volume
from edge.sweep_state import first_image

PHOTOACOUSTIC = ["-photoacoustic", "-photoacoustic-copy"]


def test_where_the_output_is_not_known_a_plain_copy_takes_the_place_of_the_volume(library, tmp_path, config):
    (library.recordings / f"{SWEEP}_0.mcap").unlink()
    written = write_sweep(of_library(library, SWEEP), tmp_path, config)
    assert [path.stem.removeprefix(SWEEP) for path in written.files] == ["-ultrasound-copy", "-photoacoustic-copy", "-picture-1"]
    assert ["mechanical index" in one or "wavelength" in one for one in written.refused] == [True, True]
    written = write_sweep(of_library(library, SWEEP), tmp_path, config, kinds=("copy",))
    assert len(written.files) == 2 and not written.refused


def test_where_nobody_knows_where_the_transducer_was_a_plain_copy_is_written(library, tmp_path, config):
    for lacking in ({"first_pose": ()}, {"face_mm": None, "first_pose": tuple(POSE.ravel())}):
        for make in (ultrasound_volume, photoacoustic_image):
            with pytest.raises(TransducerUnknown, match="lay its recording"):
                make(phantom(), exam(), Origin("recorded", "", "tracked"), replace(FACTS, **lacking), config)
    for path in library.volume_files(SWEEP):  # placed by a tracker, whose poses the recording has lost
        made = read_volume(path)
        write_volume(path, replace(made, metadata=made.metadata | {"motion": "recorded"}))
    recording = library.recordings / f"{SWEEP}_0.mcap"
    frames = [replaced(one, pose_status="missing", image_to_reference=None) for one in open_sweep(recording).frames()]
    recording.unlink()
    write_recording(recording, frames, {})
    written = write_sweep(of_library(library, SWEEP), tmp_path / "out", config)
    assert [path.stem.removeprefix(SWEEP) for path in written.files][:2] == ["-ultrasound-copy", "-photoacoustic-copy"]
    assert len(written.refused) == 2 and all("where the transducer was" in one for one in written.refused)


def test_a_saved_sweep_gives_every_kind_and_says_by_name_what_it_refuses(library, tmp_path, config):
    written = write_sweep(of_library(library, SWEEP), tmp_path / "out", config)
    assert written.refused == []
    assert [path.stem.removeprefix(SWEEP) for path in written.files] == ["-ultrasound", *PHOTOACOUSTIC, "-clip", "-picture-1"]
    ds = pydicom.dcmread(written.files[0])
    assert (float(ds.MechanicalIndex), ds.SoftTissueThermalIndex, ds.DepthsOfFocus) == (0.6, 0.2, 20.0)
    assert of_file(library.volumes / f"{SWEEP}_0.nrrd").exam().fields == EXAM
    other = SWEEP[:-1] + "2"
    put_sweep(library, other, EXAM, direction_source="unverified")
    written = write_sweep(of_library(library, other), tmp_path / "doubtful", config)
    assert [path.stem.removeprefix(other) for path in written.files] == ["-clip"]
    assert len(written.refused) == 4 and all("mirror image" in one for one in written.refused)


def test_a_file_that_is_no_sweep_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("no")
    for name in ("a.txt", "none.nrrd"):
        with pytest.raises(NothingToWrite):
            of_file(tmp_path / name)


@pytest.fixture
def new_york(monkeypatch):
    """The device's zone: five hours behind UTC in winter."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_one_study_has_one_date_and_time_in_the_device_s_zone(new_york, library, tmp_path, config):
    times = ("2026-11-27T23:57:00Z", "2026-11-28T00:03:00Z", "2026-11-28T04:59:00Z", "2026-11-28T05:01:00Z")
    for number, created in enumerate(times, 2):  # the last after local midnight
        put_sweep(library, f"{SWEEP[:-1]}{number}", EXAM | {"accession": ""})
        record = library.record(f"{SWEEP[:-1]}{number}")
        record.created = created
        library.write(record)
    library.discard(f"{SWEEP[:-1]}2")
    made = []
    for number in range(3, 6):
        written = write_sweep(of_library(library, f"{SWEEP[:-1]}{number}"), tmp_path, config, kinds=("copy",))
        made += [pydicom.dcmread(written.files[0])]
        assert verify(written.files[0]) == []
    assert [ds.StudyInstanceUID == made[0].StudyInstanceUID for ds in made] == [True, True, False]
    assert [(ds.StudyDate, ds.StudyTime) for ds in made] == [("20261127", "185700")] * 2 + [("20261128", "000100")]
    assert [ds.SeriesTime for ds in made] == ["190300", "235900", "000100"] and {ds.TimezoneOffsetFromUTC for ds in made} == {"-0500"}
    assert made[0].AcquisitionDateTime == "20261127190300-0500" and made[0].ContentDate == "20261127"
    anonymous = plain_copy(phantom(), of_library(library, f"{SWEEP[:-1]}3").exam(anonymous=True), ORIGIN, config)
    assert anonymous.StudyTime == "190300", "a study of its own"


def a_volume(path, value):
    """Of a file system, not of a library."""
    made = phantom()
    made.intensity[0, 0, 0] = value
    path.parent.mkdir(exist_ok=True)
    write_volume(path, replace(made, metadata=made.metadata | {"direction_source": "operator"}))
    return path


def test_two_files_of_the_same_name_are_two_patients_and_neither_overwrites_the_other(tmp_path):
    paths = [a_volume(tmp_path / where / "volume.nrrd", value) for value, where in enumerate("ab")]
    paths += [a_volume(tmp_path / f"leg.{day}.nrrd", value) for value, day in enumerate(("0318", "0319"), 2)]
    assert main(["dicom", "write", *map(str, paths), "-o", str(tmp_path / "out"), "--what", "copy"]) == 0
    made = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert len(made) == 4 and sum(path.name.startswith("leg.031") for path in (tmp_path / "out").iterdir()) == 2
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert len({str(ds[name].value) for ds in made}) == 4, name
    assert len({of_file(path).record.id for path in paths}) == 4
    before = of_file(paths[0]).record.id
    assert of_file(paths[0].rename(tmp_path / "volume.nrrd")).record.id == before, "the same content is the same sweep wherever it lies"


def test_a_recording_lies_beside_a_volume_only_under_its_whole_name_and_says_when_the_sweep_was(tmp_path):
    for name, started in (("leg", "2026-03-01T08:00:00Z"), ("leg.0318", "2026-03-18T09:30:00Z")):
        writer = RecordingWriter(tmp_path / f"{name}.mcap", {"started": started, "clock_trusted": "true"})
        writer.append(frame(0, last=True))
        writer.finish("last")
    found = of_file(a_volume(tmp_path / "leg.0318.nrrd", 1))
    assert found.recording == tmp_path / "leg.0318.mcap"
    assert found.exam().moment.isoformat()[:19] == "2026-03-18T09:30:00" and found.exam().clock_trusted
    assert of_file(found.recording).record.id == found.record.id, "the recording and its volume are one sweep"
    assert of_file(a_volume(tmp_path / "leg.0319.nrrd", 1)).recording is None


def test_a_recording_of_another_sweep_beside_a_volume_is_refused_by_name(tmp_path):
    writer = RecordingWriter(tmp_path / "leg.mcap", {"started": "2026-03-01T08:00:00Z", "clock_trusted": "true"})
    for number in range(2):
        writer.append(frame(number, last=number == 1))
    writer.finish("last")
    path, of_it = a_volume(tmp_path / "leg.nrrd", 1), f"{first_image(frame(1)):08x}"
    for sweep in (of_it, "0badcafe"):
        volume = read_volume(path)
        write_volume(path, replace(volume, metadata=volume.metadata | {"sweep": sweep}))
        if sweep == of_it:
            assert of_file(path).recording == tmp_path / "leg.mcap"
    with pytest.raises(SweepsApart, match="is of another sweep; move"):
        of_file(path)


def test_a_volume_without_a_recording_says_that_its_time_is_the_file_s(tmp_path):
    ds = plain_copy(phantom(), of_file(a_volume(tmp_path / "leg.nrrd", 1)).exam(), ORIGIN, DicomConfig())
    assert "The time is that of a file, not of the sweep." in ds.ImageComments and "clock was not set" not in ds.ImageComments
