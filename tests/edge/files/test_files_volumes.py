"""Volumes: every format says the same place for a voxel, and the same volume gives the same bytes."""

import gzip
import resource
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from edge.files import CannotWrite, MalformedFile, UnknownFile, UnsupportedFile
from edge.files.volumes import Volume, check_volume_path, is_volume, read_stored, read_volume, state_path, write_volume

ENDINGS = [".nrrd", ".mha", ".nii.gz"]
METADATA = {"motion": "recorded", "direction": "+", "note": 'a = b: c \\ d, "é"'}


def volume() -> Volume:
    noise = np.random.default_rng(2)
    intensity = noise.integers(0, 256, (5, 6, 7), dtype=np.uint8)
    return Volume(intensity, (-3.5, 2.25, 10.125), 0.25, METADATA, noise.integers(0, 4, (5, 6, 7), dtype=np.uint8))


@pytest.mark.parametrize("ending", ENDINGS)
def test_simpleitk_finds_each_voxel_where_it_was_built(tmp_path, ending):
    made = volume()
    written = write_volume(tmp_path / f"leg{ending}", made)
    assert [p.name for p in written] == [f"leg{ending}", f"leg-state{ending}"]
    for path, voxels in zip(written, (made.intensity, made.state), strict=True):
        image = SimpleITK.ReadImage(str(path))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), voxels)
        for at in [(0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (6, 5, 4)]:
            expected = np.array(made.origin_mm) + made.spacing_mm * np.array(at)
            np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(at), expected, atol=1e-5)


def test_nibabel_and_simpleitk_agree_where_an_asymmetric_volume_lies_in_ras(tmp_path):
    """An L in each of two planes: no turn of it is its mirror image."""
    voxels = np.zeros((4, 5, 6), np.uint8)
    voxels[0, :, 0] = voxels[0, 0, :3] = 200
    voxels[2, 1, 4] = 90
    made = Volume(voxels, (-3.0, 7.0, 11.0), 0.5)
    for ending in ENDINGS:
        write_volume(tmp_path / f"l{ending}", made)
    nifti = nibabel.load(tmp_path / "l.nii.gz")
    assert nibabel.aff2axcodes(nifti.affine) == ("L", "P", "S")
    np.testing.assert_allclose(nifti.affine @ [4, 1, 2, 1], [-(-3.0 + 2.0), -(7.0 + 0.5), 11.0 + 1.0, 1])
    np.testing.assert_array_equal(nifti.get_sform(), nifti.get_qform())
    assert np.asarray(nifti.dataobj)[4, 1, 2] == 90 and np.linalg.det(nifti.affine[:3, :3]) > 0
    seen = [SimpleITK.ReadImage(str(tmp_path / f"l{ending}")) for ending in ENDINGS]
    lps = np.diag([-1, -1, 1]) @ (nifti.affine @ [4, 1, 2, 1])[:3]
    for image in seen:
        assert image.GetPixel(image.TransformPhysicalPointToIndex(lps.tolist())) == 90
    (tmp_path / "nrrd.txt").write_bytes((tmp_path / "l.nrrd").read_bytes().split(b"\n\n")[0])
    assert "space: left-posterior-superior" in (tmp_path / "nrrd.txt").read_text()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_volume_rereads_as_it_was_with_its_metadata(tmp_path, ending):
    made = volume()
    write_volume(tmp_path / f"leg{ending}", made)
    read = read_volume(tmp_path / f"leg{ending}")
    np.testing.assert_array_equal(read.intensity, made.intensity)
    np.testing.assert_array_equal(read.state, made.state)
    assert (read.origin_mm, read.spacing_mm, read.metadata) == (made.origin_mm, made.spacing_mm, METADATA)


@pytest.mark.parametrize("ending", ENDINGS[:2])
def test_an_awkward_origin_and_spacing_lose_no_bit(tmp_path, ending):
    made = Volume(volume().intensity, (1 / 3, -2e-7, 1e5 / 7), 0.1 + 0.2)
    write_volume(tmp_path / f"a{ending}", made)
    read = read_volume(tmp_path / f"a{ending}")
    assert (read.origin_mm, read.spacing_mm) == (made.origin_mm, made.spacing_mm) and not read.state.size


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_volume_gives_the_same_bytes(tmp_path, ending):
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}{ending}", volume())
    for stem in ("", "-state"):
        assert (tmp_path / f"a{stem}{ending}").read_bytes() == (tmp_path / f"b{stem}{ending}").read_bytes()


def test_simpleitk_shows_the_metadata_of_nrrd_and_metaimage(tmp_path):
    for ending in ENDINGS[:2]:
        write_volume(tmp_path / f"leg{ending}", volume())
        assert SimpleITK.ReadImage(str(tmp_path / f"leg{ending}")).GetMetaData("motion") == "recorded"


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_simpleitk_writes_is_read(tmp_path, ending):
    image = SimpleITK.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    image.SetOrigin((1.0, -2.0, 3.5))
    image.SetSpacing((0.5, 0.25, 2.0))
    SimpleITK.WriteImage(image, str(tmp_path / f"a{ending}"), useCompression=True)
    read = read_stored(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read.voxels, SimpleITK.GetArrayFromImage(image))
    np.testing.assert_allclose((read.origin_mm, read.spacing_mm), ((1.0, -2.0, 3.5), (0.5, 0.25, 2.0)), atol=1e-6)
    with pytest.raises(UnsupportedFile, match="no volume of ours"):
        read_volume(tmp_path / f"a{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_turned_volume_is_refused_and_not_shown_in_the_wrong_place(tmp_path, ending):
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.uint8))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    SimpleITK.WriteImage(image, str(tmp_path / f"a{ending}"))
    with pytest.raises(UnsupportedFile, match="axes along those of space"):
        read_stored(tmp_path / f"a{ending}")


@pytest.mark.parametrize(
    ("space", "signs"),
    [("right-anterior-superior", (-1, -1, 1)), ("LAS", (1, -1, 1)), ("left-posterior-superior", (1, 1, 1)), ("", (1, 1, 1))],
)
def test_an_nrrd_file_in_another_space_lies_where_simpleitk_finds_it(tmp_path, space, signs):
    write_volume(tmp_path / "a.nrrd", volume())
    told = b"space: left-posterior-superior"
    data = (tmp_path / "a.nrrd").read_bytes().replace(told, f"space: {space}".encode() if space else b"space dimension: 3")
    (tmp_path / "a.nrrd").write_bytes(data)
    read = read_stored(tmp_path / "a.nrrd")
    if space:
        image = SimpleITK.ReadImage(str(tmp_path / "a.nrrd"))
        for at in [(0, 0, 0), (6, 0, 0), (0, 5, 0), (6, 5, 4)]:
            place = np.array(read.origin_mm) + np.array(read.spacing_mm) * at
            np.testing.assert_allclose(place, image.TransformIndexToPhysicalPoint(at))
    assert read.spacing_mm == tuple(0.25 * sign for sign in signs)
    if min(signs) < 0:
        with pytest.raises(UnsupportedFile, match="no volume of ours"):
            read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-left-handed", "mars"])
def test_an_nrrd_file_in_a_space_that_is_no_patient_s_is_refused(tmp_path, space):
    write_volume(tmp_path / "a.nrrd", volume())
    data = (tmp_path / "a.nrrd").read_bytes().replace(b"left-posterior-superior", space.encode())
    (tmp_path / "a.nrrd").write_bytes(data)
    with pytest.raises(UnsupportedFile, match=f"space {space}.*left-posterior-superior"):
        read_stored(tmp_path / "a.nrrd")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
@pytest.mark.parametrize("sizes", [(1200, 1000, 1000), (30000, 30000, 30000)])
def test_a_nifti_file_that_promises_more_than_it_can_hold_takes_no_memory(tmp_path, ending, sizes):
    header = nibabel.Nifti1Header()
    header.set_data_shape(sizes)
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    data = header.binaryblock + bytes(4)
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(data) if ending == ".nii.gz" else data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MalformedFile, match="too short"):
        read_stored(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10


@pytest.mark.parametrize("lines", ["a=\n" * (1 << 18), "".join(f"a{n}=\n" for n in range(200_000))])
def test_header_text_costs_little_and_has_an_end(tmp_path, lines, monkeypatch):
    monkeypatch.setattr("edge.files.headers.MOST_LINES", 1 << 18)
    path = tmp_path / "a.mha"
    path.write_text("ObjectType = Image\n" + lines + "DimSize = 1 1 1\nElementDataFile = LOCAL\n\0")
    tracemalloc.start()
    try:
        with pytest.raises(MalformedFile, match=r"lines|fields"):
            read_stored(path)
        assert not is_volume(path) and tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_cut_volume_is_refused_by_name(tmp_path, ending):
    (path,) = write_volume(tmp_path / f"a{ending}", Volume(volume().intensity, (0, 0, 0), 1.0))
    whole = path.read_bytes()
    for at in range(0, len(whole) - 12, 7):
        path.write_bytes(whole[:at])
        with pytest.raises((MalformedFile, UnsupportedFile)):
            read_stored(path)


def test_a_header_that_promises_more_than_the_file_can_hold_takes_no_memory(tmp_path):
    head = (
        "ObjectType = Image\nCompressedData = True\nElementType = MET_UCHAR\nDimSize = 9999999 9999999 9999999\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "a.mha").write_text(head + "x" * 1000)
    with pytest.raises(MalformedFile, match="too short"):
        read_stored(tmp_path / "a.mha")


def test_names_that_cannot_be_written_are_refused_before_the_work():
    for good in ("leg.nrrd", "leg.v2.mha", "LEG.NII.GZ"):
        check_volume_path(tmp(good))
    for bad in ("leg", "leg.png", "leg.nii", ".nrrd"):
        with pytest.raises(UnknownFile):
            check_volume_path(tmp(bad))


def tmp(name):
    return Path("/nowhere") / name


def test_the_state_of_a_name_with_two_endings():
    assert state_path(tmp("leg.v2.nii.gz")).name == "leg.v2-state.nii.gz"


@pytest.mark.parametrize(
    "metadata", [{"two words": "x"}, {"Offset": "1"}, {"type": "x"}, {"a": "two\nlines"}, {"a": ""}, {"Seq_Frame0000_x": "1"}]
)
def test_metadata_that_would_change_the_header_is_refused(tmp_path, metadata):
    with pytest.raises(CannotWrite):
        write_volume(tmp_path / "a.mha", Volume(volume().intensity, (0, 0, 0), 1.0, metadata))
    assert not list(tmp_path.iterdir())
