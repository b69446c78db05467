"""PLUS sequences: what the field's tools write is read, what we write is read by them and by us."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from synthetic_frames import frame, rich_extras, same

from edge.files import (
    CannotWrite,
    MalformedFile,
    NoCalibration,
    NoPhysicalSpacing,
    UnknownFile,
    UnsupportedFile,
    open_sweep,
    write_sweep,
)
from edge.messages import Geometry
from edge.transform import Transform

DATA = Path(__file__).parents[4] / "shared" / "data"
LEG = DATA / "leg" / "leg_0318_0509.igs.mha"
SPINE = DATA / "plus" / "SpinePhantomFreehand.igs.mha"
SPINE_CONFIG = DATA / "plus" / "PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml"
SIMULATED_CONFIG = DATA / "plus" / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml"
real = pytest.mark.skipif(not LEG.exists() or not SPINE.exists(), reason="the real sweeps are not beside the repository (../shared/data)")

IMAGES = np.random.default_rng(1).integers(0, 255, (3, 4, 5), dtype=np.uint8)
IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


def meta(path, images=IMAGES, *, fields=(), frames=(), spacing="0.5 0.25 1", size=None, compressed=True, payload=None):
    """A MetaImage sequence as PLUS writes it; ``fields`` override header fields, ``frames`` are (index, key, value)."""
    raw = images.tobytes() if payload is None else payload
    data = zlib.compress(raw) if compressed else raw
    head = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        "DimSize": size or " ".join(map(str, images.shape[::-1])),
        "Kinds": "domain domain list",
        "ElementSpacing": spacing,
        "ElementType": "MET_USHORT" if images.dtype.itemsize == 2 else "MET_UCHAR",
        "UltrasoundImageOrientation": "MF",
        **dict(fields),
    }
    lines = [f"{k} = {v}" for k, v in head.items()] + [f"Seq_Frame{i:04d}_{k} = {v}" for i, k, v in frames]
    path.write_bytes(("\n".join(lines) + "\nElementDataFile = LOCAL\n").encode() + data)
    return path


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


def matrix(text):
    return np.array(text.split(), float).reshape(4, 4)


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


# --- what we write ---


def test_a_written_sweep_rereads_as_the_same_frames(tmp_path):
    frames = [frame(0), frame(1, pose_status="invalid"), frame(4, pose_status="missing", image_to_reference=None)]
    frames += [frame(5, modality="photoacoustic", wavelength_nm=850.5, extras=rich_extras()), frame(6, timestamp_ns=-1_500_000_001)]
    frames += [frame(7, pose_status="invalid", image_to_reference=None), frame(9, last=True)]
    path = tmp_path / "folder" / "a.igs.mha"
    assert write_sweep(path, iter(frames)) == len(frames)
    read = list(open_sweep(path).frames())
    assert len(read) == len(frames) and all(same(a, b) for a, b in zip(frames, read, strict=True))
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.igs.mha"]
    header = path.read_bytes().partition(b"LOCAL\n")[0].decode()
    assert max(map(len, header.splitlines())) < 1000, "PLUS reads at most 1000 characters a line"


def test_sixteen_bit_samples_and_their_range_survive(tmp_path):
    frames = [frame(i, pixels=np.full((16, 24), 4000 + i, "<u2"), sample_range=(0.0, 4095.0)) for i in range(3)]
    write_sweep(tmp_path / "a.igs.mha", frames)
    assert all(same(a, b, but=("last",)) for a, b in zip(frames, open_sweep(tmp_path / "a.igs.mha").frames(), strict=True))


@pytest.mark.parametrize(
    ("most", "fields", "white"),
    [(4000, {}, 4095), (4096, {}, 8191), (40, {}, 255), (65535, {}, 65535), (4000, {"ElementMin": "0", "ElementMax": "4000"}, 4000)],
)
def test_sixteen_bit_images_are_as_bright_as_they_were_meant(tmp_path, most, fields, white):
    images = np.full((3, 4, 5), most // 2, "<u2")
    images[2, 1, 1] = most
    sweep = open_sweep(meta(tmp_path / "a.igs.mha", images, fields=fields))
    assert [f.sample_range for f in sweep.frames()] == [(0.0, white)] * 3 and sweep.description["black_white"] == [0, white]
    assert bool(sweep.description["black_white_from"] == "header") == bool(fields)
    assert any(f"{white:g}, the smallest power of two" in note for note in sweep.description["notes"]) == (not fields)


@pytest.mark.parametrize("stated", ["0 0", "5 4", "0 70000", "nan 9", "x 9"])
def test_an_impossible_grey_range_in_the_header_is_not_believed(tmp_path, stated):
    images = np.full((1, 4, 5), 1000, "<u2")
    fields = dict(zip(("ElementMin", "ElementMax"), stated.split(), strict=True))
    assert next(open_sweep(meta(tmp_path / "a.igs.mha", images, fields=fields)).frames()).sample_range == (0.0, 1023.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"width":24', '"width":4000', "of another sweep"),
        ('"kind":"linear"', '"kind":"convex"', "convex images"),
        ('"spacing_mm":[0.1,0.2]', '"spacing_mm":[0.3,0.2]', r"0\.3"),
        ('"depth_mm":40.0', '"depth_mm":-40.0', "depth must lie"),
        ('"sample_range":[0.0,255.0]', '"sample_range":[5.0,5.0]', "must rise"),
        ('"sample_range":[0.0,255.0]', '"sample_range":[0.0,4095.0]', "must rise"),
        ('"sweep":3', '"sweep":-3', "out of range"),
    ],
)
def test_our_own_fields_are_checked_against_the_images(tmp_path, old, new, message):
    path = tmp_path / "a.igs.mha"
    write_sweep(path, [frame(0)])
    content = path.read_bytes()
    assert content.count(old.encode()) == 1
    path.write_bytes(content.replace(old.encode(), new.encode()))
    with pytest.raises(MalformedFile, match=message):
        open_sweep(path)


def test_simpleitk_reads_what_we_write(tmp_path):
    frames = [frame(i) for i in range(4)]
    write_sweep(tmp_path / "a.igs.mha", frames)
    image = SimpleITK.ReadImage(str(tmp_path / "a.igs.mha"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), [f.pixels for f in frames])
    pose = image.GetMetaData("Seq_Frame0002_ImageToReferenceTransform")
    assert tuple(map(float, pose.split())) == frames[2].image_to_reference


def test_the_size_of_a_pixel_counts_once_for_every_reader(tmp_path):
    """SlicerIGSIO's importer keeps the spacing that MetaIO reads, and puts ImageToReference, which has the pixel size in it, on top."""
    write_sweep(tmp_path / "posed.igs.mha", [frame(0), frame(1)])
    posed = SimpleITK.ReadImage(str(tmp_path / "posed.igs.mha"))
    corner = np.array([*np.multiply(posed.GetSpacing()[:2], (23, 17)), 0, 1])  # where the importer has pixel (23, 17) of an image
    imported = np.reshape([float(n) for n in posed.GetMetaData("Seq_Frame0001_ImageToReferenceTransform").split()], (4, 4)) @ corner
    np.testing.assert_allclose(imported[:3], frame(1).pose.apply(np.array([[23.0, 17.0, 0.0]]))[0])
    write_sweep(tmp_path / "bare.igs.mha", [frame(i, pose_status="missing", image_to_reference=None) for i in range(2)])
    assert SimpleITK.ReadImage(str(tmp_path / "bare.igs.mha")).GetSpacing() == (0.1, 0.2, 1.0)  # nothing else would tell it
    for name in ("posed", "bare"):
        assert b"\nElementSize = 0.1 0.2 1\n" in (tmp_path / f"{name}.igs.mha").read_bytes()
        assert open_sweep(tmp_path / f"{name}.igs.mha").geometry.spacing_mm == (0.1, 0.2)


@pytest.mark.parametrize(
    ("fields", "spacing"),
    [
        (["ElementSpacing = 0.2 0.1 1"], (0.2, 0.1)),
        (["ElementSize = 0.2 0.1 1"], (0.2, 0.1)),
        (["ElementSize = 3 3 3", "ElementSpacing = 0.2 0.1 1"], (0.2, 0.1)),
    ],
)
def test_element_spacing_goes_before_element_size_as_in_metaio(tmp_path, fields, spacing):
    head = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "DimSize = 4 3 2", "UltrasoundImageOrientation = MF", *fields]
    content = "\n".join([*head, "ElementType = MET_UCHAR", "ElementDataFile = LOCAL", ""]).encode() + bytes(24)
    (tmp_path / "a.igs.mha").write_bytes(content)
    assert open_sweep(tmp_path / "a.igs.mha").geometry.spacing_mm == spacing
    assert SimpleITK.ReadImage(str(tmp_path / "a.igs.mha")).GetSpacing()[:2] == spacing


def test_estimated_poses_replace_those_of_the_frames(tmp_path):
    frames = [frame(i, pose_status="missing", image_to_reference=None) for i in range(3)]
    poses = {0: Transform("Image", "Reference", np.diag([0.1, 0.2, 1, 1])), 2: Transform("Image", "Reference", np.diag([0.1, 0.2, 3, 1]))}
    write_sweep(tmp_path / "a.igs.mha", frames, poses=poses, pose_source="network")
    sweep = open_sweep(tmp_path / "a.igs.mha")
    read = list(sweep.frames())
    assert [f.pose_status for f in read] == ["ok", "missing", "ok"] and sweep.description["poses_from"] == "network"
    np.testing.assert_array_equal(read[2].pose.matrix, poses[2].matrix)


def test_estimated_poses_are_never_read_as_tracked_ones(tmp_path):
    poses = {i: frame(i).pose for i in range(2)}
    told = {"pose_source": "network: small", "direction": "-", "direction_source": "preset"}
    write_sweep(tmp_path / "a.igs.mha", [frame(0), frame(1)], poses=poses, **told)
    write_sweep(tmp_path / "b.igs.mha", open_sweep(tmp_path / "a.igs.mha").frames())  # written on without saying it again
    placed = open_sweep(tmp_path / "a.igs.mha").frames()
    write_sweep(tmp_path / "c.igs.mha", placed, poses=poses, pose_source="recorded (network: small)", direction="-")
    for name in "abc":
        sweep = open_sweep(tmp_path / f"{name}.igs.mha")
        assert (sweep.pose_source, sweep.direction, sweep.direction_source) == tuple(told.values())
        assert {f.pose_origin for f in sweep.frames()} == {tuple(told.values())}
    write_sweep(tmp_path / "d.igs.mha", [frame(0)], poses=poses, pose_source="recorded", direction="tracked")
    assert next(open_sweep(tmp_path / "d.igs.mha").frames()).pose_origin == ("", "", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sweep": 4}, "another sweep"),
        ({"pose_source": "constant"}, "comes from elsewhere"),
        ({"geometry": Geometry(width=25, height=16, spacing_mm=(0.1, 0.2))}, "another size"),
        ({"pixels": np.zeros((16, 24), "<u2")}, "another size, spacing or sample type"),
    ],
)
def test_frames_that_one_sequence_cannot_hold_are_refused_and_leave_nothing(tmp_path, change, message):
    with pytest.raises(CannotWrite, match=message):
        write_sweep(tmp_path / "a.igs.mha", [frame(0), frame(1, **change)])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path):
    path = tmp_path / "a.igs.mha"
    write_sweep(path, [frame(0)])
    before = path.read_bytes()
    convex = Geometry(
        kind="convex",
        width=24,
        height=16,
        spacing_mm=(0.1, 0.1),
        radius_start_mm=10,
        radius_stop_mm=60,
        angle_start_deg=-30,
        angle_stop_deg=30,
    )
    with pytest.raises(CannotWrite, match="scan-converted"):
        write_sweep(path, [frame(0, geometry=convex)])
    with pytest.raises(CannotWrite, match="no frame"):
        write_sweep(path, [])
    with pytest.raises(CannotWrite, match=r"\.igs\.mha"):
        write_sweep(tmp_path / "a.xyz", [frame(0)])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.igs.mha"]


# --- real files ---


@real
def test_the_leg_sweep_reads_and_survives_a_round_trip(tmp_path):
    sweep = open_sweep(LEG)
    assert (sweep.frame_count, sweep.has_poses, sweep.geometry.spacing_mm) == (192, True, (0.10784, 0.10784))
    write_sweep(tmp_path / "leg.igs.mha", sweep.frames())
    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(LEG)))
    for index, (one, other) in enumerate(zip(sweep.frames(), open_sweep(tmp_path / "leg.igs.mha").frames(), strict=True)):
        assert same(one, other)
        np.testing.assert_array_equal(one.pixels, image[index])


@real
def test_the_plus_spine_sweep_is_placed_by_its_configuration():
    with pytest.raises(NoPhysicalSpacing):
        list(open_sweep(SPINE).frames())
    sweep = open_sweep(SPINE, plus_config=SPINE_CONFIG)
    read = list(sweep.frames())
    assert len(read) == 21 and all(f.pose_status == "ok" for f in read)
    assert sweep.geometry.spacing_mm == pytest.approx((0.0854, 0.0790), abs=1e-4)
    fields = sweep.frame_fields(7)
    steps = [matrix(fields[f"{t}ToTrackerTransform"]) for t in ("Reference", "Probe")]
    calibration = np.array(
        [
            [-0.00157821, 0.0785919, -0.00803285, 15.3978],
            [-0.0839128, 0.00372697, 0.0153803, 49.5705],
            [0.0159024, 0.00714276, 0.0803604, -8.63446],
        ]
    )
    np.testing.assert_allclose(
        read[7].pose.matrix[:3], (np.linalg.inv(steps[0]) @ steps[1])[:3] @ np.vstack([calibration, [0, 0, 0, 1]]), atol=1e-9
    )
    origins = np.array([f.pose.matrix[:3, 3] for f in read])
    assert 10 < np.linalg.norm(np.diff(origins, axis=0), axis=1).sum() < 200


@real
def test_a_real_configuration_without_image_to_probe_is_refused_by_name():
    with pytest.raises(NoCalibration, match="ImageToTransducerOriginPixel"):
        open_sweep(SPINE, plus_config=SIMULATED_CONFIG)
