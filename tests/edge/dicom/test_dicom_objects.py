"""What is written as DICOM says who, where and how truly, is never mirrored, and is refused where it would have to be invented."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_cases import EXAM, FACTS, ORIGIN, ORIGIN_MM, OUTPUT, POSE, SPACING_MM, exam, phantom, verify
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map
from pydicom.dataset import Dataset
from synthetic_frames import frame

from edge.config import DicomConfig
from edge.dicom.clips import review_picture, ultrasound_clip
from edge.dicom.copies import plain_copy
from edge.dicom.errors import (
    AcousticOutputUnknown,
    ClipTooLong,
    DirectionUnconfirmed,
    ExamNotDicom,
    MalformedDicom,
)
from edge.dicom.objects import SYNTAXES, Origin, write_object
from edge.dicom.probe_facts import ProbeFacts, gather
from edge.dicom.volumes import photoacoustic_image, ultrasound_volume
from edge.messages import Geometry

FAN = Geometry(
    kind="convex",
    width=40,
    height=50,
    spacing_mm=(0.5, 0.5),
    radius_start_mm=10,
    radius_stop_mm=40,
    angle_start_deg=-20,
    angle_stop_deg=20,
)


def us(tmp_path, compression="none", **changes):
    path = tmp_path / f"us-{compression}.dcm"
    values = {"volume": phantom(), "exam": exam(), "origin": ORIGIN, "facts": FACTS, "config": DicomConfig()} | changes
    return write_object(path, ultrasound_volume(**values), compression)


def test_simpleitk_finds_every_voxel_of_an_asymmetric_phantom_where_it_was_built(tmp_path):
    made, image = phantom(), SimpleITK.ReadImage(str(us(tmp_path)))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), made.intensity)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    for at in [(0, 0, 0), (14, 0, 0), (0, 11, 0), (0, 0, 8), (12, 9, 7)]:
        expected = np.array(ORIGIN_MM) + SPACING_MM * np.array(at)
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(at), expected, atol=1e-4)
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) > 0


@pytest.mark.parametrize("channel", ["ultrasound", "photoacoustic"])
def test_the_plain_copy_puts_every_voxel_where_it_was_built(tmp_path, channel):
    made = replace(phantom(), metadata={"channel": channel})
    path = write_object(tmp_path / "copy.dcm", plain_copy(made, exam(), ORIGIN, DicomConfig()))
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), made.intensity)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1) and verify(path) == []
    for at in [(0, 0, 0), (14, 0, 0), (0, 11, 0), (0, 0, 8), (12, 9, 7)]:
        expected = np.array(ORIGIN_MM) + SPACING_MM * np.array(at)
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(at), expected, atol=1e-4)
    with pytest.raises(DirectionUnconfirmed):
        plain_copy(made, exam(), replace(ORIGIN, direction_source="unverified"), DicomConfig())


def test_the_functional_groups_say_the_same_place_as_the_copies_at_the_top(tmp_path):
    ds = pydicom.dcmread(us(tmp_path))
    shared = ds.SharedFunctionalGroupsSequence[0]
    for one in (ds, shared.PixelMeasuresSequence[0]):
        assert [float(v) for v in (*one.PixelSpacing, one.SpacingBetweenSlices, one.SliceThickness)] == pytest.approx([SPACING_MM] * 4)
    assert list(shared.PlaneOrientationVolumeSequence[0].ImageOrientationVolume) == list(ds.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    for k, one in enumerate(ds.PerFrameFunctionalGroupsSequence):
        place = [ORIGIN_MM[0], ORIGIN_MM[1], ORIGIN_MM[2] + k * SPACING_MM]
        assert list(one.PlanePositionVolumeSequence[0].ImagePositionVolume) == place
    np.testing.assert_allclose([float(v) for v in ds.ImagePositionPatient], ORIGIN_MM, atol=1e-6)


def test_the_transducer_s_axes_are_right_handed_and_its_face_is_where_the_first_image_was(tmp_path):
    matrix = np.reshape([float(v) for v in pydicom.dcmread(us(tmp_path)).VolumeToTransducerMappingMatrix], (4, 4))
    assert np.isclose(np.linalg.det(matrix[:3, :3]), 1)
    np.testing.assert_allclose(matrix @ [19, 0, 0, 1], [0, 0, 0, 1])  # the middle of the first row of 38 mm
    np.testing.assert_allclose(matrix[:3, :3] @ [0, 1, 0], [0, 0, 1])  # depth is z


def place_of(ds):
    """TransducerToVolume, and the apex."""
    return np.linalg.inv(np.reshape([float(v) for v in ds.VolumeToTransducerMappingMatrix], (4, 4))), list(ds.ApexPosition)


def test_of_a_tracked_sweep_the_transducer_is_where_the_tracker_saw_it_first(tmp_path):
    frames = [frame(n, image_to_reference=tuple((POSE + n * np.eye(4)).ravel()), pose_status="ok") for n in range(2)]
    ds = pydicom.dcmread(us(tmp_path, origin=Origin("recorded", "", "tracked"), facts=replace(gather(frames), **OUTPUT)))
    place, apex = place_of(ds)
    middle = POSE @ [(frames[0].geometry.width - 1) / 2, 0, 0, 1]
    np.testing.assert_allclose(place[:3, 3], middle[:3])
    np.testing.assert_allclose(apex, middle[:3])
    np.testing.assert_allclose(place[:3, 0], [0, 0, 1], atol=1e-12)  # lateral, as the pose's first column
    np.testing.assert_allclose(place[:3, 2], [1, 0, 0], atol=1e-12)  # depth, as its second
    assert np.isclose(np.linalg.det(place[:3, :3]), 1) and verify(tmp_path / "us-none.dcm") == []


def test_of_a_convex_probe_the_transducer_is_at_the_middle_of_its_curved_face(tmp_path):
    ds = pydicom.dcmread(us(tmp_path, facts=replace(gather([frame(n, geometry=FAN) for n in range(2)]), **OUTPUT)))
    place, _ = place_of(ds)
    half_width_mm = np.floor(40 * np.sin(np.radians(20)) / 0.5) * 0.5
    np.testing.assert_allclose(place[:3, 3], [half_width_mm, 10 - 10 * np.cos(np.radians(20)), 0])
    assert verify(tmp_path / "us-none.dcm") == []


@pytest.mark.parametrize("side", ["left", "right", ""])
def test_dciodvfy_finds_no_error_in_any_kind(tmp_path, side):
    whose = exam(fields=EXAM | {"side": side})
    frames = [frame(n) for n in range(3)]
    clip = write_object(tmp_path / "clip.dcm", ultrasound_clip(frames, whose, gather(frames), DicomConfig()))
    library_picture = write_object(tmp_path / "picture.dcm", review_picture(a_picture(tmp_path), whose, ORIGIN, DicomConfig()))
    for path in (us(tmp_path, exam=whose), us(tmp_path, "rle", exam=whose), clip, library_picture):
        assert verify(path) == [], path.name


def test_dciodvfy_would_say_what_is_missing(tmp_path):
    ds = pydicom.dcmread(us(tmp_path))
    del ds.MechanicalIndex
    ds.save_as(tmp_path / "lacks.dcm")
    assert any("MechanicalIndex" in line for line in verify(tmp_path / "lacks.dcm"))


def a_picture(tmp_path):
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (7, 5, 3), dtype=np.uint8)).save(path)
    return path


def lacking(ds: Dataset, iod: str) -> set[str]:
    """Attributes of type 1 and 2 at the top of the mandatory modules that are not there, by highdicom's tables."""
    modules = [one["key"] for one in get_iod_module_map()[iod] if one["usage"] == "M"]
    wanted = {one["keyword"]: one["type"] for key in modules for one in get_module_attribute_map()[key] if not one["path"]}
    return {word for word, kind in wanted.items() if kind in ("1", "2") and word not in ds} | {
        word for word, kind in wanted.items() if kind == "1" and word in ds and ds[word].is_empty
    }


def test_a_photoacoustic_image_has_what_the_tables_of_its_modules_ask_for(tmp_path):
    ds = photoacoustic_image(phantom(), exam(), ORIGIN, FACTS, DicomConfig())
    assert lacking(ds, "photoacoustic-image") == set() == lacking(pydicom.dcmread(us(tmp_path)), "enhanced-us-volume")
    del ds.ExcitationWavelengthSequence
    assert lacking(ds, "photoacoustic-image") == {"ExcitationWavelengthSequence"}
    shared = ds.SharedFunctionalGroupsSequence[0]
    for group in ("PixelMeasures", "ImageDataType", "PlaneOrientationVolume", "PhotoacousticExcitationCharacteristics"):
        assert f"{group}Sequence" in shared
    assert [one.ExcitationWavelength for one in shared.PhotoacousticExcitationCharacteristicsSequence] == [750.0, 850.0]


def test_each_wavelength_is_an_image_of_its_own_and_so_is_the_oxygen_that_comes_of_them():
    told = {"photoacoustic-850nm": {"wavelength_nm": "850"}, "oxygen-saturation": {"wavelengths_nm": "750 850", "caveat": "Beware."}}
    made = {
        channel: photoacoustic_image(replace(phantom(), metadata={"channel": channel, **own}), exam(), ORIGIN, FACTS, DicomConfig())
        for channel, own in told.items()
    }
    lights = {name: [one.ExcitationWavelength for one in ds.ExcitationWavelengthSequence] for name, ds in made.items()}
    assert lights == {"photoacoustic-850nm": [850.0], "oxygen-saturation": [750.0, 850.0]}
    of_what = [ds.SharedFunctionalGroupsSequence[0].ImageDataTypeSequence[0].ImageDataTypeCodeSequence[0].CodeValue for ds in made.values()]
    assert of_what == ["pa-signal", "110819"] and len({ds.SeriesInstanceUID for ds in made.values()}) == 2
    assert made["oxygen-saturation"].ImageType[0] == "DERIVED" and made["oxygen-saturation"].ImageComments.endswith("no value. Beware.")
    assert all(lacking(ds, "photoacoustic-image") == set() for ds in made.values())


def test_both_channels_share_study_and_frame_of_reference_but_no_series():
    one = ultrasound_volume(phantom(), exam(), ORIGIN, FACTS, DicomConfig())
    other = photoacoustic_image(phantom(), exam(), ORIGIN, FACTS, DicomConfig())
    assert (one.FrameOfReferenceUID, one.StudyInstanceUID) == (other.FrameOfReferenceUID, other.StudyInstanceUID)
    assert one.SeriesInstanceUID != other.SeriesInstanceUID and one.SOPInstanceUID != other.SOPInstanceUID
    assert (one.Modality, other.Modality) == ("US", "PA")


def test_the_same_content_has_the_same_uid_and_another_content_another(tmp_path):
    first, again = (pydicom.dcmread(us(tmp_path)) for _ in range(2))
    assert first.SOPInstanceUID == again.SOPInstanceUID == pydicom.dcmread(us(tmp_path, "rle")).SOPInstanceUID
    darker = phantom()
    darker.intensity[0, 0, 0] = 1
    other_side = exam(fields=EXAM | {"side": "right"})
    flipped = ultrasound_volume(phantom(), exam(), replace(ORIGIN, direction="-"), FACTS, DicomConfig())
    others = [ultrasound_volume(*what, ORIGIN, FACTS, DicomConfig()) for what in ((darker, exam()), (phantom(), other_side))]
    assert len({one.SOPInstanceUID for one in (first, flipped, *others)}) == 4
    assert flipped.SeriesInstanceUID != first.SeriesInstanceUID


@pytest.mark.parametrize("compression", ["rle", "jpeg-ls", "jpeg2000"])
def test_compression_loses_no_bit_and_keeps_the_place(tmp_path, compression):
    made = phantom()
    large = replace(made, intensity=np.pad(made.intensity, ((0, 0), (0, 60), (0, 70))))
    path = us(tmp_path, compression, volume=large)
    read = pydicom.dcmread(path)
    assert read.file_meta.TransferSyntaxUID == SYNTAXES[compression][0] and read.LossyImageCompression == "00"
    np.testing.assert_array_equal(read.pixel_array, large.intensity)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), large.intensity)
    np.testing.assert_allclose(image.GetSpacing(), [SPACING_MM] * 3)


def test_the_exam_becomes_patient_study_and_side(tmp_path):
    ds = pydicom.dcmread(us(tmp_path))
    assert (str(ds.PatientName), ds.PatientID, ds.PatientBirthDate, ds.PatientSex) == ("Zyblikiewicz^Eve", "PAT-778899", "19610405", "F")
    assert (ds.AccessionNumber, ds.Laterality, ds.BodyPartExamined, str(ds.OperatorsName)) == ("ACC-31337", "L", "LEG", "Quimby^Nurse")
    assert ds.AnatomicRegionSequence[0].CodeMeaning == "Lower limb" and ds.AcquisitionDateTime == "20261127170000+0000"
    assert (
        ultrasound_volume(phantom(), exam(fields=EXAM | {"study_uid": "1.2.3"}), ORIGIN, FACTS, DicomConfig()).StudyInstanceUID == "1.2.3"
    )


def test_it_is_for_research_and_says_where_motion_and_direction_come_from(tmp_path):
    ds = pydicom.dcmread(us(tmp_path))
    assert ds.ContentQualification == "RESEARCH" and "not for diagnosis" in ds.ImageComments
    said = {one.ConceptNameCodeSequence[0].CodeValue: one.TextValue for one in ds.AcquisitionContextSequence}
    assert said == {"motion": "network: small", "direction": "+", "direction-source": "operator"}
    assert ds.PositionMeasuringDeviceUsed == "FREEHAND"
    assert "Which voxels were measured is not known" in ds.ImageComments
    made = phantom()
    half = replace(made, state=np.where(np.arange(made.intensity.size).reshape(made.intensity.shape) % 4, 1, 2).astype(np.uint8))
    assert "25.0 % were interpolated" in ultrasound_volume(half, exam(), ORIGIN, FACTS, DicomConfig()).ImageComments
    seen = replace(FACTS, first_pose=tuple(POSE.ravel()))
    tracked = ultrasound_volume(phantom(), exam(), Origin("recorded", "", "tracked"), seen, DicomConfig())
    assert tracked.PositionMeasuringDeviceUsed == "RIGID" and "measured by a tracker" in tracked.ImageComments


@pytest.mark.parametrize("source", ["unverified", "unknown", ""])
def test_a_direction_that_nobody_confirmed_is_refused_in_every_volume_and_picture(tmp_path, source):
    doubtful = replace(ORIGIN, direction_source=source)
    for make in (ultrasound_volume, photoacoustic_image):
        with pytest.raises(DirectionUnconfirmed, match=r"mirror image.*confirm it"):
            make(phantom(), exam(), doubtful, FACTS, DicomConfig())
    with pytest.raises(DirectionUnconfirmed):
        review_picture(a_picture(tmp_path), exam(), doubtful, DicomConfig())


@pytest.mark.parametrize(("change", "word"), [("mechanical_index", "mechanical"), ("thermal_index", "thermal"), ("focus_mm", "focus")])
def test_what_nobody_said_of_the_output_is_not_invented(change, word):
    with pytest.raises(AcousticOutputUnknown, match=word):
        ultrasound_volume(phantom(), exam(), ORIGIN, replace(FACTS, **{change: () if change == "focus_mm" else -1.0}), DicomConfig())


def test_an_exam_without_names_is_written_as_such_and_one_with_names_can_be():
    nobody = exam(fields={"side": "left", "body_part": "leg", "operator": "Quimby", "notes": "Eve's lump"})
    for one in (nobody, exam(anonymous=True)):
        ds = ultrasound_volume(phantom(), one, ORIGIN, FACTS, DicomConfig(institution="Clinic of Eve"))
        text = str(ds)
        assert ds.PatientIdentityRemoved == "YES" and ds.PatientID.startswith("ANON-") and ds.Laterality == "L"
        assert not any(word in text for word in ("Zybl", "Eve", "PAT-7", "1961", "ACC-", "Quimby", "Lump"))
    assert nobody.study_uid == exam(anonymous=True).study_uid != exam().study_uid


@pytest.mark.parametrize(
    "fields",
    [
        {"patient_id": "x" * 65},
        {"accession": "1" * 17},
        {"patient_name": "a\\b"},
        {"birth_date": "5 April"},
        {"study_uid": "no", "sex": "F", "patient_id": "1"},
    ],
)
def test_a_field_that_dicom_cannot_hold_is_refused_and_not_cut(fields):
    with pytest.raises(ExamNotDicom):
        ultrasound_volume(phantom(), exam(fields=EXAM | fields), ORIGIN, FACTS, DicomConfig())


def test_the_clip_has_its_times_and_its_calipers(tmp_path):
    frames = [frame(n, timestamp_ns=10**9 + n * 33_000_000 + 4_000_000 * (n == 2)) for n in range(4)]
    path = write_object(tmp_path / "c.dcm", ultrasound_clip(frames, exam(), gather(frames), DicomConfig()))
    ds = pydicom.dcmread(path)
    assert [float(v) for v in ds.FrameTimeVector] == [0, 33, 37, 29]
    region = ds.SequenceOfUltrasoundRegions[0]
    assert (region.PhysicalDeltaX, region.PhysicalDeltaY) == (0.01, 0.02) and region.PhysicalUnitsXDirection == 3
    assert (region.RegionLocationMaxX1, region.RegionLocationMaxY1) == (23, 15)
    np.testing.assert_array_equal(ds.pixel_array, np.stack([one.pixels for one in frames]))
    half = ultrasound_clip(frames, exam(), gather(frames), DicomConfig(), every=2)
    assert half.NumberOfFrames == 2 and [float(v) for v in half.FrameTimeVector] == [0, 70]


def test_a_convex_clip_is_scan_converted_before_it_is_calibrated():
    ds = ultrasound_clip([frame(n, geometry=FAN) for n in range(2)], exam(), ProbeFacts(), DicomConfig())
    assert ds.SequenceOfUltrasoundRegions[0].PhysicalDeltaX == ds.SequenceOfUltrasoundRegions[0].PhysicalDeltaY == 0.05
    assert ds.Rows * 0.5 >= 28 and ds.Columns * 0.5 >= 26


def test_a_clip_that_is_too_long_is_refused_with_a_cure(monkeypatch):
    monkeypatch.setattr("edge.dicom.clips.LARGEST_CLIP", 1000)
    with pytest.raises(ClipTooLong, match="--every 2"):
        ultrasound_clip([frame(n) for n in range(4)], exam(), ProbeFacts(), DicomConfig())


def test_a_picture_is_the_same_pixels_and_what_is_none_is_refused(tmp_path):
    path = a_picture(tmp_path)
    ds = pydicom.dcmread(write_object(tmp_path / "p.dcm", review_picture(path, exam(), ORIGIN, DicomConfig())))
    np.testing.assert_array_equal(ds.pixel_array, np.random.default_rng(1).integers(0, 255, (7, 5, 3), dtype=np.uint8))
    whole = path.read_bytes()
    for cut in (0, 8, 40, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(MalformedDicom, match="no picture"):
            review_picture(path, exam(), ORIGIN, DicomConfig())
