"""What others may have meant by a file, or would lose by one that is written: taken as it was meant, or refused by name."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import nibabel
import numpy as np
import pytest
import SimpleITK
from foreign_files import tracked

from edge.app import main
from edge.files import CannotWrite, MalformedFile, UnsupportedFile, open_sweep, write_sweep
from edge.files.tus_rec import write_tus_rec
from edge.files.volumes import read_volume
from edge.messages import Frame, Geometry
from edge.transform import Transform


def tracked_sweep(path, spacing_mm):
    geometry = Geometry(width=30, height=20, spacing_mm=spacing_mm)
    images, _ = tracked()
    step = np.diag([*spacing_mm, 1.0, 1.0])
    write_sweep(
        path,
        (
            Frame(
                boot_id=1,
                sweep=1,
                sequence=n,
                timestamp_ns=n * 50_000_000,
                geometry=geometry,
                pose_status="ok",
                image_to_reference=tuple((step + np.eye(4)[2:3].T @ [[0, 0, 0, 0.4 * n]]).ravel().tolist()),
                pixels=image,
            )
            for n, image in enumerate(images)
        ),
    )


def test_a_scan_of_another_pixel_size_does_not_change_the_table_of_those_beside_it(tmp_path, capsys):
    tracked_sweep(tmp_path / "shallow.igs.mha", (0.1, 0.1))
    tracked_sweep(tmp_path / "deep.igs.mha", (0.3, 0.3))
    scans = tmp_path / "scans"
    scans.mkdir()
    assert main(["convert", str(tmp_path / "shallow.igs.mha"), "-o", str(scans / "shallow.h5")]) == 0
    table = (scans / "calib_matrix.csv").read_bytes()
    assert main(["convert", str(tmp_path / "deep.igs.mha"), "-o", str(scans / "deep.h5")]) == 1
    assert "a folder of its own" in capsys.readouterr().err and not (scans / "deep.h5").exists()
    assert main(["convert", str(tmp_path / "shallow.igs.mha"), "-o", str(scans / "again.h5")]) == 0, "the same table serves both"
    assert (scans / "calib_matrix.csv").read_bytes() == table and open_sweep(scans / "shallow.h5").geometry.spacing_mm == (0.1, 0.1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "calib_matrix.csv").mkdir()
    assert main(["convert", str(tmp_path / "deep.igs.mha"), "-o", str(tmp_path / "folder" / "deep.h5")]) == 1
    assert "is a folder" in capsys.readouterr().err


def test_a_new_table_takes_no_scan_away_from_the_one_above_it(tmp_path):
    images, _ = tracked()
    poses = [Transform("Image", "Reference", np.diag([0.2, 0.1, 1.0, 1.0]))] * len(images)
    inner = tmp_path / "scans"
    inner.mkdir()
    write_tus_rec(tmp_path / "a.h5", images, poses, (0.2, 0.1), np.eye(4))
    (tmp_path / "a.h5").rename(inner / "a.h5")
    with pytest.raises(CannotWrite, match=r"a\.h5 lies there"):
        write_tus_rec(inner / "b.h5", images, poses, (0.3, 0.1), np.eye(4))
    assert not (inner / "calib_matrix.csv").exists() and not (inner / "b.h5").exists()
    write_tus_rec(inner / "b.h5", images, poses, (0.2, 0.1), np.eye(4))


def nrrd(path, data, *fields, sizes, kinds, kind="uchar"):
    head = ["NRRD0005", f"type: {kind}", f"dimension: {len(sizes)}", "space: left-posterior-superior", "endian: little", "encoding: raw"]
    head += [f"sizes: {' '.join(map(str, sizes))}", f"kinds: {kinds}", *fields, "", ""]
    path.write_bytes("\n".join(head).encode() + data)
    return path


@pytest.mark.parametrize(
    ("kinds", "axes"),
    [
        ("list domain domain domain", (3, 1, 2, 0)),
        ("domain list domain", (1, 0, 2)),
        ("domain domain list", (0, 1, 2)),
        ("domain domain domain list", (0, 3, 1, 2)),
    ],
)
def test_a_sequence_reads_the_same_wherever_its_list_axis_is(tmp_path, kinds, axes):
    images = np.random.default_rng(2).integers(0, 60000, (5, 6, 4), np.uint16)  # images, rows, columns
    whole = images[..., None] if len(axes) == 4 else images
    data = np.ascontiguousarray(whole.transpose(axes)).tobytes()
    steps = iter(("(0.3,0,0)", "(0,0.2,0)", "(0,0,1)"))
    directions = " ".join("none" if kind == "list" else next(steps) for kind in kinds.split())
    sizes = whole.transpose(axes).shape[::-1]
    path = nrrd(tmp_path / "a.seq.nrrd", data, f"space directions: {directions}", sizes=sizes, kinds=kinds, kind="ushort")
    sweep = open_sweep(path)
    assert sweep.geometry.spacing_mm == (0.3, 0.2)
    np.testing.assert_array_equal(list(sweep.images()), images)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MalformedFile):
        list(open_sweep(path).images())


def test_spacings_are_those_of_the_image_wherever_the_list_axis_is(tmp_path):
    path = nrrd(tmp_path / "a.seq.nrrd", bytes(5 * 4 * 6), "spacings: nan 0.3 0.2", sizes=(5, 4, 6), kinds="list domain domain")
    assert open_sweep(path).geometry.spacing_mm == (0.3, 0.2)


def test_a_volume_of_colours_or_vectors_is_no_grey_volume(tmp_path):
    for kinds in ("vector domain domain", "RGB-color domain domain", "domain vector domain"):
        with pytest.raises(UnsupportedFile, match="not one grey volume"):
            read_volume(nrrd(tmp_path / "a.nrrd", bytes(3 * 4 * 5), sizes=(3, 4, 5), kinds=kinds))


VOXELS = np.arange(24, dtype=np.uint8).tobytes()
PLACED = "space directions: (1,0,0) (0,1,0) (0,0,1)"
META = "ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 1 1 1\nDimSize = 2 3 4\nElementType = MET_UCHAR\n"


def meta(path, *fields, data=VOXELS):
    path.write_bytes((META + "".join(f"{one}\n" for one in fields)).encode() + b"ElementDataFile = LOCAL\n" + data)
    return path


@pytest.mark.parametrize("field", ["byte skip: 8", "byteskip: 8", "byte skip: -1", "line skip: 1", "lineskip: 1"])
def test_an_nrrd_whose_voxels_begin_elsewhere_is_refused_by_name(tmp_path, field):
    kinds = "domain domain domain"
    key, value = field.split(": ")
    with pytest.raises(UnsupportedFile, match=f"{key} is {value}"):
        read_volume(nrrd(tmp_path / "a.nrrd", b"JUNKJUNK" + VOXELS, PLACED, field, sizes=(2, 3, 4), kinds=kinds))
    zero = nrrd(tmp_path / "b.nrrd", VOXELS, PLACED, f"{key}: 0", sizes=(2, 3, 4), kinds=kinds)
    assert read_volume(zero).intensity.tobytes() == VOXELS


def test_a_metaimage_whose_voxels_begin_elsewhere_is_refused_by_name(tmp_path):
    for value in ("8", "-1"):
        with pytest.raises(UnsupportedFile, match=f"HeaderSize is {value}"):
            read_volume(meta(tmp_path / "a.mha", f"HeaderSize = {value}", data=b"JUNKJUNK" + VOXELS))
    assert read_volume(meta(tmp_path / "b.mha", "HeaderSize = 0")).intensity.tobytes() == VOXELS


def test_a_volume_in_another_unit_is_no_volume_in_millimetres(tmp_path):
    sizes, kinds = (2, 3, 4), "domain domain domain"
    for told in ('space units: "m" "m" "m"', 'space units: "mm" "mm" "um"', 'units: "cm" "mm" "mm"'):
        with pytest.raises(UnsupportedFile, match="millimetres"):
            read_volume(nrrd(tmp_path / "a.nrrd", VOXELS, PLACED, told, sizes=sizes, kinds=kinds))
    for told in ('space units: "mm" "mm" "mm"', 'space units: "" "" ""', 'space units: "millimeters" "millimeters" "millimeters"'):
        read_volume(nrrd(tmp_path / "a.nrrd", VOXELS, PLACED, told, sizes=sizes, kinds=kinds))
    with pytest.raises(UnsupportedFile, match="millimetres"):
        read_volume(meta(tmp_path / "a.mha", "DistanceUnits = um"))
    read_volume(meta(tmp_path / "a.mha", "DistanceUnits = mm"))
    listed = nrrd(tmp_path / "a.seq.nrrd", bytes(24), 'units: "s" "mm" "mm"', sizes=(2, 3, 4), kinds="list domain domain")
    assert open_sweep(listed).frame_count == 2, "the list axis has a unit of its own"


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("mm", 1.0), ("micron", 1e3), ("unknown", 1.0)])
def test_a_nifti_volume_is_as_large_as_simpleitk_finds_it(tmp_path, unit, factor):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([-0.5 * factor, -0.5 * factor, 0.5 * factor, 1]))
    image.affine[:3, 3] = np.array([-1.0, -2.0, 3.0]) * factor
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), image.affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume, other = read_volume(tmp_path / "a.nii.gz"), SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_allclose((volume.spacing_mm, *volume.origin_mm), (0.5, 1.0, 2.0, 3.0), rtol=1e-6)
    np.testing.assert_allclose(other.GetOrigin(), volume.origin_mm, rtol=1e-6)


def test_a_nifti_volume_in_a_unit_that_is_none_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([-1.0, -1, 1, 1])), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[123] = 7
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(MalformedFile, match="unit"):
        read_volume(tmp_path / "a.nii")


def film(path, aspect=None, turned=False):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if aspect:
            stream.sample_aspect_ratio = aspect
        for n in range(5):
            image = av.VideoFrame.from_ndarray(np.full((48, 64), 40 * n, np.uint8), format="gray")
            for packet in stream.encode(image.reformat(format="yuv420p")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    if turned:  # the matrix of the track, as a phone held upright writes it
        data, quarter = path.read_bytes(), struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
        upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
        at = data.index(upright, data.index(b"tkhd"))
        path.write_bytes(data[:at] + quarter + data[at + len(quarter) :])
    return path


def test_pixels_that_are_not_square_need_two_sizes(tmp_path, capsys):
    wide = film(tmp_path / "a.mp4", Fraction(4, 3))
    words = ["convert", str(wide), "-o", str(tmp_path / "a.igs.mha"), "--spacing-mm"]
    assert main([*words, "0.2"]) == 1
    assert "4:3" in capsys.readouterr().err and not (tmp_path / "a.igs.mha").exists()
    assert main([*words, "0.2", "0.15"]) == 0
    assert open_sweep(wide).description["pixel_aspect"] == "4:3"
    assert main(["convert", str(film(tmp_path / "b.mp4")), *words[2:], "0.2"]) == 0


def test_a_film_that_is_shown_turned_is_refused_by_name(tmp_path):
    with pytest.raises(UnsupportedFile, match="turned by -90 degrees"):
        open_sweep(film(tmp_path / "a.mp4", turned=True))
    assert open_sweep(film(tmp_path / "b.mp4")).kind == "mp4"
