"""PLUS sequences: what the field's tools write is read, and what is damaged is refused by name."""

import gzip

import numpy as np
import pytest
from plus_files import IDENTITY, IMAGES, matrix, meta

from edge.files import (
    MalformedFile,
    NoCalibration,
    NoPhysicalSpacing,
    UnknownFile,
    UnsupportedFile,
    open_sweep,
)


@pytest.mark.parametrize("orientation", ["MF", "MN", "UF", "UN", "MFA", "UND", "uf"])
def test_every_orientation_is_turned_to_mf(tmp_path, orientation):
    images = IMAGES
    if orientation[0] in "Uu":
        images = images[:, :, ::-1]
    if orientation[1] == "N":
        images = images[:, ::-1]
    path = meta(tmp_path / "a.igs.mha", images, fields={"UltrasoundImageOrientation": orientation})
    read = [f.pixels for f in open_sweep(path).frames()]
    np.testing.assert_array_equal(read, IMAGES)


def test_transposed_images_are_refused_by_name(tmp_path):
    with pytest.raises(UnsupportedFile, match="FM is not read here"):
        open_sweep(meta(tmp_path / "a.igs.mha", fields={"UltrasoundImageOrientation": "FM"}))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("swapped", [True, False])
def test_sixteen_bits_in_both_byte_orders(tmp_path, compressed, swapped):
    images = IMAGES.astype("<u2") * 257
    fields = {"BinaryDataByteOrderMSB": str(swapped)}
    path = meta(
        tmp_path / "a.igs.mha", images, fields=fields, compressed=compressed, payload=images.astype(">u2" if swapped else "<u2").tobytes()
    )
    read = list(open_sweep(path).frames())
    np.testing.assert_array_equal([f.pixels for f in read], images)
    assert read[0].pixels.dtype.str == "<u2" and read[0].sample_range == (0.0, 65535.0)


def test_a_sequence_with_the_third_dimension_written_out(tmp_path):
    path = meta(tmp_path / "a.igs.mha", size="5 4 1 3", fields={"NDims": "4", "Kinds": "domain domain domain list"})
    np.testing.assert_array_equal([f.pixels for f in open_sweep(path).frames()], IMAGES)


def test_timestamps_are_exact_nanoseconds_and_the_last_frame_says_so(tmp_path):
    path = meta(tmp_path / "a.igs.mha", frames=[(0, "Timestamp", "215.102186"), (1, "Timestamp", "215.2"), (2, "Timestamp", "1e3")])
    sweep = open_sweep(path)
    assert [(f.timestamp_ns, f.last) for f in sweep.frames()] == [(215102186000, False), (215200000000, False), (10**12, True)]
    assert sweep.frames_per_s == pytest.approx(2 / (1000 - 215.102186))


def test_an_image_that_plus_calls_invalid_is_left_out_and_leaves_a_gap(tmp_path):
    path = meta(tmp_path / "a.igs.mha", frames=[(0, "ImageStatus", "OK"), (2, "ImageStatus", "INVALID")])
    sweep = open_sweep(path)
    assert [(f.sequence, f.last) for f in sweep.frames()] == [(0, False), (1, True)] and sweep.frame_count == 2


def test_a_pose_that_is_not_ok_is_invalid_and_one_that_is_not_there_is_missing(tmp_path):
    frames = [(0, "ImageToReferenceTransform", IDENTITY), (0, "ImageToReferenceTransformStatus", "OK")]
    frames += [(1, "ImageToReferenceTransform", IDENTITY), (1, "ImageToReferenceTransformStatus", "OUT_OF_VIEW")]
    read = list(open_sweep(meta(tmp_path / "a.igs.mha", frames=frames, spacing="1.001 1 1")).frames())
    assert [f.pose_status for f in read] == ["ok", "invalid", "missing"]
    assert read[0].pose is not None and read[1].pose is None


def test_a_pose_with_an_impossible_matrix_is_invalid(tmp_path):
    frames = [(i, "ImageToReferenceTransform", m) for i, m in enumerate([IDENTITY.replace("1", "nan", 1), IDENTITY + "7"])]
    read = list(open_sweep(meta(tmp_path / "a.igs.mha", frames=frames)).frames())
    assert [f.pose_status for f in read] == ["invalid", "invalid", "missing"]


def config(path, *transforms):
    rows = "".join(f'<Transform From="{a}" To="{b}" Matrix="{m}"/>' for a, b, m in transforms)
    path.write_text(f"<PlusConfiguration><CoordinateDefinitions>{rows}</CoordinateDefinitions></PlusConfiguration>")
    return path


PROBE = "0 -1 0 5 1 0 0 6 0 0 1 7 0 0 0 1"
REFERENCE = "1 0 0 50 0 0 -1 60 0 1 0 70 0 0 0 1"
CALIBRATION = "0.2 0 0 1 0 0.3 0 2 0 0 0.25 3 0 0 0 1"


def test_tracker_transforms_are_joined_with_the_calibration(tmp_path):
    frames = [(i, f"{t}ToTrackerTransform", m) for i in range(3) for t, m in (("Probe", PROBE), ("Reference", REFERENCE))]
    frames += [(1, "ReferenceToTrackerTransformStatus", "MISSING")]
    path = meta(tmp_path / "a.igs.mha", frames=frames, spacing="1 1 1")
    sweep = open_sweep(path, plus_config=config(tmp_path / "c.xml", ("Image", "Probe", CALIBRATION)))
    read = list(sweep.frames())
    expected = np.linalg.inv(matrix(REFERENCE)) @ matrix(PROBE) @ matrix(CALIBRATION)
    np.testing.assert_allclose(read[0].pose.matrix, expected, atol=1e-12)
    assert [f.pose_status for f in read] == ["ok", "invalid", "ok"]
    assert sweep.geometry.spacing_mm == pytest.approx((0.2, 0.3)) and sweep.has_poses


def test_without_a_reference_marker_the_tracker_is_the_reference_and_that_is_said(tmp_path):
    path = meta(tmp_path / "a.igs.mha", frames=[(0, "ProbeToTrackerTransform", PROBE)], spacing="1 1 1")
    sweep = open_sweep(path, plus_config=config(tmp_path / "c.xml", ("Image", "Probe", CALIBRATION)))
    np.testing.assert_allclose(next(sweep.frames()).pose.matrix, matrix(PROBE) @ matrix(CALIBRATION))
    assert "Reference is the tracker itself" in sweep.description["notes"][0]


def test_the_calibration_may_stand_in_the_sweep_itself(tmp_path):
    frames = [(0, "ProbeToReferenceTransform", PROBE), (0, "ImageToProbeTransform", CALIBRATION)]
    sweep = open_sweep(meta(tmp_path / "a.igs.mha", frames=frames, spacing="1 1 1"))
    np.testing.assert_allclose(next(sweep.frames()).pose.matrix, matrix(PROBE) @ matrix(CALIBRATION))


def test_a_sweep_without_physical_spacing_names_the_cure(tmp_path):
    path = meta(tmp_path / "a.igs.mha", frames=[(0, "ProbeToTrackerTransform", PROBE)], spacing="1 1 1")
    sweep = open_sweep(path)
    assert not sweep.has_poses and sweep.frame_count == 3
    with pytest.raises(NoPhysicalSpacing, match="--plus-config"):
        list(sweep.frames())


def test_a_header_that_denies_the_calibration_is_not_believed(tmp_path):
    scaled = "0.2 0 0 0 0 0.2 0 0 0 0 0.2 0 0 0 0 1"
    sweep = open_sweep(meta(tmp_path / "a.igs.mha", frames=[(0, "ImageToReferenceTransform", scaled)], spacing="0.5 0.5 1"))
    assert sweep.geometry.spacing_mm == pytest.approx((0.2, 0.2)) and sweep.description["spacing_from"] == "calibration"


def test_a_configuration_without_the_calibration_names_what_it_has(tmp_path):
    path = meta(tmp_path / "a.igs.mha")
    with pytest.raises(NoCalibration, match="it has PhantomToReference"):
        open_sweep(path, plus_config=config(tmp_path / "c.xml", ("Phantom", "Reference", IDENTITY)))
    (tmp_path / "d.xml").write_text("<a><b></a>")
    with pytest.raises(MalformedFile, match="is not XML"):
        open_sweep(path, plus_config=tmp_path / "d.xml")


def nrrd(path, *, encoding="gz", images=IMAGES, extra=""):
    data = images.tobytes()
    if encoding in ("gz", "gzip"):
        data = gzip.compress(data[:20]) + gzip.compress(data[20:])
    head = f"""NRRD0004
# Complete NRRD file format specification at:
# http://teem.sourceforge.net/nrrd/format.html
dimension: 3
encoding: {encoding}
endian: little
kinds: domain domain list
sizes: 5 4 3
space dimension: 2
space directions: (0.5,0) (0,0.25) none
space origin: (0,0)
type: unsigned char
PlusField: kept
ultrasound image orientation:=UFA
ultrasound image type:=BRIGHTNESS
Seq_Frame0000_ImageToReferenceTransform:={CALIBRATION.replace("0.2 ", "0.5 ").replace("0.3", "0.25")}
Seq_Frame0000_ImageToReferenceTransformStatus:=OK
Seq_Frame0000_Timestamp:=1.5
Seq_Frame0000_Status:=OK
Seq_Frame0001_Timestamp:=1.6
Seq_Frame0002_Timestamp:=1.7
Seq_Frame0002_Custom:=a=b: c
{extra}
"""
    path.write_bytes(head.encode() + data)
    return path


@pytest.mark.parametrize("encoding", ["gz", "gzip", "raw"])
def test_an_nrrd_sequence_reads_like_a_metaimage_one(tmp_path, encoding):
    sweep = open_sweep(nrrd(tmp_path / "a.igs.nrrd", encoding=encoding))
    read = list(sweep.frames())
    np.testing.assert_array_equal([f.pixels for f in read], IMAGES[:, :, ::-1])
    assert sweep.geometry.spacing_mm == (0.5, 0.25) and [f.timestamp_ns for f in read] == [1500000000, 1600000000, 1700000000]
    assert [f.pose_status for f in read] == ["ok", "missing", "missing"]
    assert sweep.frame_fields(2)["Custom"] == "a=b: c" and sweep.description["fields"]["PlusField"] == "kept"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"DimSize": "5 4 99"}, "ends within image 3 of 99"),
        ({"DimSize": "5 4 -3"}, "not a list of whole numbers"),
        ({"DimSize": "5 4 0"}, "not possible"),
        ({"DimSize": "5 4"}, "do not fit"),
        ({"DimSize": "99999 4 3"}, "larger than"),
        ({"ElementSpacing": "a b"}, "not a list of numbers"),
        ({"ElementType": "MET_FLOAT"}, "not read here"),
        ({"ElementType": "MET_OTHER"}, "not read here"),
        ({"ElementNumberOfChannels": "3"}, "colours"),
        ({"Sonosweep": "{]"}, "damaged"),
        ({"Seq_Frame9_": "1"}, "names no frame"),
        ({"Seq_Frame0009_X": "1"}, "describes frame 9"),
        ({"Seq_Frame0001_Timestamp": "soon"}, "not a number of seconds"),
        ({"Seq_Frame0001_Timestamp": "nan"}, "not a number of seconds"),
        ({"Seq_Frame0001_Timestamp": "1e40"}, "out of range"),
        ({"Seq_Frame0001_ImageToReferenceTransform": "1 2 3"}, "3 numbers and not 16"),
        ({"Seq_Frame0001_ImageToReferenceTransform": "x " * 16}, "not a list of numbers"),
    ],
)
def test_a_malformed_sequence_is_refused_by_name(tmp_path, fields, message):
    with pytest.raises((MalformedFile, UnsupportedFile), match=message):
        list(open_sweep(meta(tmp_path / "a.igs.mha", fields=fields)).frames())


def test_a_sequence_cut_at_any_byte_is_refused_by_name(tmp_path):
    whole = meta(tmp_path / "a.igs.mha", frames=[(0, "ImageToReferenceTransform", IDENTITY)]).read_bytes()
    cut = tmp_path / "b.igs.mha"
    for at in range(len(whole) - 5):
        cut.write_bytes(whole[:at])
        with pytest.raises((MalformedFile, UnsupportedFile)):
            list(open_sweep(cut).frames())


def test_a_sequence_with_a_flipped_byte_is_read_or_refused_by_name(tmp_path):
    whole = bytearray(meta(tmp_path / "a.igs.mha", frames=[(0, "ImageToReferenceTransform", IDENTITY)]).read_bytes())
    changed, random = tmp_path / "b.igs.mha", np.random.default_rng(0)
    for at in range(len(whole)):
        mutant = whole.copy()
        mutant[at] = random.integers(256)
        changed.write_bytes(mutant)
        try:
            read = list(open_sweep(changed).frames())
        except (MalformedFile, UnsupportedFile, UnknownFile, NoPhysicalSpacing):
            continue
        except Exception as wrong:
            assert type(wrong).__module__ == "edge.messages", f"byte {at}: {wrong!r}"  # BadGeometry
            continue
        assert all(f.pixels.shape == (f.geometry.height, f.geometry.width) for f in read)


def test_an_unknown_file_learns_what_can_be_read(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UnknownFile, match=r"\.igs\.mha.*\.igs\.nrrd.*\.mcap"):
        open_sweep(tmp_path / "a.txt")
    with pytest.raises(UnknownFile, match="No such file"):
        open_sweep(tmp_path / "b.igs.mha")
