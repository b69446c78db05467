"""Sweeps in the formats of others: videos, DICOM clips, TUS-REC, and archives; made and read by libraries that are not ours."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import h5py
import numpy as np
import pydicom
import pytest
import SimpleITK
from foreign_files import AREA, clip, screens, tracked, write_video
from PIL import Image

from edge.app import main
from edge.files import MalformedFile, NoPhysicalSpacing, UnknownFile, UnsupportedFile, open_sweep, write_sweep
from edge.files.archive import check_archive, write_archive
from edge.files.errors import NoImageArea
from edge.files.hints import BadCrop, Crop, parse_crop
from edge.files.image_area import image_area
from edge.files.tus_rec import BadTusRec, write_tus_rec
from edge.messages import Frame, Geometry


@pytest.mark.parametrize(("ending", "codec", "pixels", "off"), [("mp4", "mpeg4", "yuv420p", 25), ("avi", "ffv1", "gray", 0)])
def test_a_video_is_a_sweep_and_its_image_area_is_found(tmp_path, ending, codec, pixels, off):
    images = list(screens())
    write_video(tmp_path / f"clip.{ending}", images, codec, pixel_format=pixels)
    sweep = open_sweep(tmp_path / f"clip.{ending}", spacing_mm=(0.2, 0.1), crop=Crop())
    assert np.abs(np.subtract(sweep.crop, AREA)).max() <= (0 if off == 0 else 2), sweep.crop
    frames = list(sweep.frames())
    assert len(frames) == len(images) and sweep.frames_per_s == 25 and sweep.geometry.spacing_mm == (0.2, 0.1)
    np.testing.assert_allclose(np.diff([frame.timestamp_ns for frame in frames]), 40e6, atol=1e6)
    left, top, width, height = sweep.crop
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.pixels.astype(int) - image[top : top + height, left : left + width]).mean() <= off


def test_a_video_without_a_pixel_size_says_what_is_missing(tmp_path):
    write_video(tmp_path / "clip.avi", list(screens(6)), "ffv1", pixel_format="gray")
    sweep = open_sweep(tmp_path / "clip.avi")
    assert (sweep.crop.width, sweep.crop.height) == (320, 240)
    with pytest.raises(NoPhysicalSpacing, match="--spacing-mm"):
        next(sweep.frames())
    with pytest.raises(BadCrop, match="beyond the 320 x 240"):
        open_sweep(tmp_path / "clip.avi", crop=Crop(300, 0, 40, 40))


def test_a_crop_reads_as_it_is_written_and_a_still_picture_has_no_area():
    assert parse_crop("auto").detect and parse_crop("1, 2,30,40") == Crop(1, 2, 30, 40)
    for bad in ("", "1,2,3", "a,b,c,d", "0,0,1,10", "1,2,3,-4"):
        with pytest.raises(BadCrop):
            parse_crop(bad)
    with pytest.raises(NoImageArea, match="--crop"):
        image_area([np.zeros((100, 100), np.uint8)] * 3, "still")
    assert image_area(screens(), "x") == AREA


def tables(bits):
    """A palette of 256 entries in which every colour falls as the index rises."""
    falling = (np.arange(255, -1, -1) << (bits - 8)).astype(f"<u{bits // 8}").tobytes()
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    return {f"{name}Descriptor": [256, 0, bits] for name in names} | {f"{name}Data": falling for name in names}


@pytest.mark.parametrize("what", ["MONOCHROME1", "PALETTE COLOR 8", "PALETTE COLOR 16"])
def test_a_dicom_clip_in_which_0_is_white_or_a_place_in_a_table_is_as_bright_as_it_looks(tmp_path, what):
    images = list(screens(3))
    images[0][10:12, 10:12] = 10
    kind, _, bits = what.rpartition(" ") if "PALETTE" in what else (what, "", "")
    clip(tmp_path / "a.dcm", images, PhotometricInterpretation=kind, **(tables(int(bits)) if bits else {}))
    clip(tmp_path / "plain.dcm", images)
    pairs = zip(open_sweep(tmp_path / "a.dcm").frames(), open_sweep(tmp_path / "plain.dcm").frames(), strict=True)
    for turned, plain in pairs:
        np.testing.assert_allclose(turned.pixels.astype(int), 255 - plain.pixels.astype(int), atol=1)


def test_a_dicom_clip_whose_samples_mean_something_else_is_refused_by_name(tmp_path):
    for kind, words in (("HSV", "HSV"), ("PALETTE COLOR", "Palette"), ("", "says nothing of what its samples mean")):
        clip(tmp_path / "a.dcm", list(screens(3)), PhotometricInterpretation=kind)
        with pytest.raises((UnsupportedFile, MalformedFile), match=words):
            list(open_sweep(tmp_path / "a.dcm").frames())


def test_a_dicom_clip_brings_its_area_its_pixel_size_and_its_times(tmp_path):
    images = list(screens(8))
    clip(tmp_path / "clip.dcm", images)
    sweep = open_sweep(tmp_path / "clip.dcm")
    frames = list(sweep.frames())
    assert sweep.crop == AREA and sweep.geometry.spacing_mm == pytest.approx((0.2, 0.1)) and sweep.frames_per_s == 20
    assert [frame.timestamp_ns for frame in frames] == [50_000_000 * number for number in range(8)]
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.pixels, image[40:168, 80:240])
    assert "Doe" not in json.dumps(sweep.description)


def test_a_clip_in_jpeg_and_colours_reads_as_grey(tmp_path):
    images, pieces = [image[40:168, 80:240] // 8 * 8 for image in screens(4)], []
    for image in images:
        out = io.BytesIO()
        Image.fromarray(image).convert("RGB").save(out, "JPEG", quality=95)
        pieces.append(out.getvalue())
    colours = {
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "YBR_FULL_422",
        "PlanarConfiguration": 0,
        "FrameTime": None,
        "CineRate": 10,
    }
    data = pydicom.encaps.encapsulate(pieces)
    clip(tmp_path / "a.dcm", images, region=False, syntax=pydicom.uid.JPEGBaseline8Bit, PixelData=data, **colours)
    frames = list(open_sweep(tmp_path / "a.dcm", spacing_mm=(0.2, 0.2)).frames())
    assert [frame.timestamp_ns for frame in frames] == [100_000_000 * number for number in range(4)]
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.pixels.astype(int) - image).mean() < 8


def test_a_clip_that_is_no_ultrasound_or_is_deflated_is_refused(tmp_path):
    images = list(screens(3))
    for changes, words in [({"Modality": "MR"}, "not ultrasound"), ({"syntax": pydicom.uid.DeflatedExplicitVRLittleEndian}, "deflated")]:
        clip(tmp_path / "a.dcm", images, **changes)
        with pytest.raises(UnsupportedFile, match=words):
            open_sweep(tmp_path / "a.dcm")
    clip(tmp_path / "b.dcm", images, region=False)
    with pytest.raises(NoPhysicalSpacing):
        next(open_sweep(tmp_path / "b.dcm").frames())
    clip(tmp_path / "c.dcm", images, NumberOfFrames=4)
    with pytest.raises(MalformedFile):
        list(open_sweep(tmp_path / "c.dcm", spacing_mm=(0.2, 0.2)).frames())


def test_a_scan_of_tus_rec_comes_back_with_its_poses(tmp_path):
    images, poses = tracked()
    tool = np.eye(4)
    tool[:3, :3], tool[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], (5, 6, 7)
    table = write_tus_rec(tmp_path / "LH.h5", images, poses, (0.2, 0.1), tool)
    (tmp_path / "frames").mkdir()
    (tmp_path / "LH.h5").rename(tmp_path / "frames" / "LH.h5")  # the table is found above it
    sweep = open_sweep(tmp_path / "frames" / "LH.h5")
    frames = list(sweep.frames())
    assert sweep.has_poses and sweep.frame_count == 5 and sweep.geometry.spacing_mm == (0.2, 0.1)
    for frame, image, pose in zip(frames, images, poses, strict=True):
        np.testing.assert_array_equal(frame.pixels, image)
        np.testing.assert_allclose(frame.pose.matrix, pose.matrix, atol=1e-9)
    table.rename(tmp_path / "elsewhere.csv")
    with pytest.raises(NoPhysicalSpacing, match="--calibration"):
        next(open_sweep(tmp_path / "frames" / "LH.h5").frames())
    assert open_sweep(tmp_path / "frames" / "LH.h5", calibration=tmp_path / "elsewhere.csv").has_poses


def test_hdf5_that_reaches_out_or_promises_too_much_is_refused(tmp_path):
    images, poses = tracked()
    write_tus_rec(tmp_path / "good.h5", images, poses, (0.2, 0.1), np.eye(4))

    def bad(name, make):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            make(file)
        return tmp_path / f"{name}.h5"

    def outside(file):
        file["frames"] = h5py.ExternalLink("good.h5", "frames")

    def virtual(file):
        layout = h5py.VirtualLayout(shape=(5, 20, 30), dtype="u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "good.h5"), "frames", shape=(5, 20, 30))
        file.create_virtual_dataset("frames", layout)

    refused = [
        bad("outside", outside),
        bad("virtual", virtual),
        bad("empty", lambda file: file.create_dataset("frames", shape=(10**6, 4000, 4000), dtype="u1", chunks=(1, 4000, 4000))),
        bad(
            "chunk",
            lambda file: file.create_dataset("frames", data=np.zeros((200, 1000, 1000), "u1"), chunks=(200, 1000, 1000), compression=1),
        ),
        bad("kind", lambda file: file.create_dataset("frames", data=np.zeros((2, 4, 4)))),
        bad("group", lambda file: file.create_group("frames")),
        bad("other", lambda file: file.create_dataset("else", data=1)),
    ]
    for path in refused:
        with pytest.raises((MalformedFile, UnsupportedFile)) as raised:
            list(open_sweep(path, spacing_mm=(0.2, 0.2)).frames())
        assert str(path) in str(raised.value)
    with h5py.File(tmp_path / "good.h5", "a") as file:
        file["tforms"][2, 0, 0] = np.nan
    with pytest.raises(BadTusRec):
        list(open_sweep(tmp_path / "good.h5").frames())


def test_an_archive_says_what_is_in_it_and_notices_what_changed(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(b"volume")
    (tmp_path / "b.csv").write_bytes(b"1,2\n" * 1000)
    names = write_archive(tmp_path / "x.zip", [tmp_path / "b.csv", tmp_path / "a.nrrd"], {"sweep": "s"})
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.testzip() is None and set(archive.namelist()) == {*names, "manifest.json"}
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["files"][0] == {"name": "a.nrrd", "bytes": 6, "sha256": hashlib.sha256(b"volume").hexdigest()}
    assert check_archive(tmp_path / "x.zip") == manifest and manifest["sweep"] == "s"
    first = (tmp_path / "x.zip").read_bytes()
    write_archive(tmp_path / "x.zip", [tmp_path / "a.nrrd", tmp_path / "b.csv"], {"sweep": "s"})
    assert first == (tmp_path / "x.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        archive.writestr("more.txt", "x")
    with pytest.raises(MalformedFile, match="what its manifest lists"):
        check_archive(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "y.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.nrrd", b"VOLUME")
        archive.writestr("manifest.json", json.dumps({**manifest, "files": manifest["files"][:1]}))
    with pytest.raises(MalformedFile, match="checksum"):
        check_archive(tmp_path / "y.zip")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    for told in (10, 4 << 30):
        manifest = {"format": "sonosweep-export", "files": [{"name": "a", "bytes": told, "sha256": ""}]}
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(64 << 20))
            archive.writestr("manifest.json", json.dumps(manifest))
        with pytest.raises(MalformedFile, match="were exported"):
            check_archive(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(70_000):  # ZIP64
            archive.writestr(f"{number:050d}", b"")
    with pytest.raises(MalformedFile, match="at most 10000"):
        check_archive(tmp_path / "many.zip")
    with zipfile.ZipFile(tmp_path / "y.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", bytes(64 << 20))
    with pytest.raises(MalformedFile, match=r"no manifest\.json"):
        check_archive(tmp_path / "y.zip")


def test_the_command_converts_and_simpleitk_reads_what_it_wrote(tmp_path, capsys):
    write_video(tmp_path / "clip.avi", list(screens(6)), "ffv1", pixel_format="gray")
    words = [
        "convert",
        str(tmp_path / "clip.avi"),
        "-o",
        str(tmp_path / "s.igs.mha"),
        "--spacing-mm",
        "0.2",
        "0.1",
        "--crop",
        "80,40,160,128",
    ]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 6
    image = SimpleITK.ReadImage(str(tmp_path / "s.igs.mha"))
    assert image.GetSize() == (160, 128, 6)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image)[2], list(screens(6))[2][40:168, 80:240])
    images, poses = tracked()
    frames = [frame for frame in open_sweep(tmp_path / "s.igs.mha").frames()]
    assert main(["convert", str(tmp_path / "s.igs.mha"), "-o", str(tmp_path / "s.h5")]) == 1  # a video has no poses
    assert "no pose" in capsys.readouterr().err
    shaped = [frame for frame, _ in zip(frames, poses, strict=False)]
    sized = {"width": 30, "height": 20, "spacing_mm": (0.2, 0.1)}
    posed = [
        Frame(
            boot_id=1,
            sweep=1,
            sequence=number,
            timestamp_ns=frame.timestamp_ns,
            geometry=Geometry(**sized),
            pixels=image,
            pose_status="ok",
            image_to_reference=tuple(pose.matrix.ravel().tolist()),
        )
        for number, (frame, image, pose) in enumerate(zip(shaped, images, poses, strict=True))
    ]
    write_sweep(tmp_path / "t.igs.mha", posed)
    assert main(["convert", str(tmp_path / "t.igs.mha"), "-o", str(tmp_path / "t.h5")]) == 0
    for frame, pose in zip(open_sweep(tmp_path / "t.h5").frames(), poses, strict=True):
        np.testing.assert_allclose(frame.pose.matrix, pose.matrix, atol=1e-9)
    assert main(["convert", str(tmp_path / "t.h5"), str(tmp_path / "s.igs.mha"), "-o", str(tmp_path / "all.zip")]) == 0
    assert main(["info", str(tmp_path / "all.zip")]) == 0
    capsys.readouterr()


def test_files_of_no_format_are_refused_with_the_list_of_formats(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"nothing")
    with pytest.raises(UnknownFile, match=r"DICOM ultrasound clip.*video"):
        open_sweep(tmp_path / "a.bin")
