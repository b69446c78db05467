"""PLUS sequences that we write: read by the field's tools and by us, bit for bit."""

import numpy as np
import pytest
import SimpleITK
from plus_files import meta
from synthetic_frames import frame, rich_extras, same

from edge.files import (
    CannotWrite,
    MalformedFile,
    open_sweep,
    write_sweep,
)
from edge.messages import Geometry
from edge.transform import Transform


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
