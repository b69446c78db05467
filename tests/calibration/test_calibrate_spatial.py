"""ImageToProbe from N-wires: found again in a simulation with speckle, false dots and wrong poses, and on PLUS's own data."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from wire_phantom import (
    HEIGHT,
    SPACING_MM,
    TRUE_IMAGE_TO_PROBE,
    WIDTH,
    WIRES,
    true_poses,
    write_phantom,
    write_sequence,
    write_wire_sequence,
)

from calibration.dots import find_dots
from calibration.gauss_newton import minimised
from calibration.phantom import read_phantom
from edge.app import main
from edge.files import read_probe, write_probe
from edge.files.probe import Scale

PLUS = Path(__file__).parents[3] / "shared" / "data" / "plus"
REAL, VALIDATION = (PLUS / f"fCal_Test_{name}_3NWires_fCal2.0.igs.mha" for name in ("Calibration", "Validation"))
REAL_PHANTOM = PLUS / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml"
needs_plus = pytest.mark.skipif(not REAL.exists(), reason="PLUS's N-wire sequences are not beside the repository (../shared/data/plus)")
CORNERS = np.array([[0, 0, 0, 1], [WIDTH - 1, 0, 0, 1], [0, HEIGHT - 1, 0, 1], [WIDTH - 1, HEIGHT - 1, 0, 1]], float)


def run(capsys, *words) -> dict:
    capsys.readouterr()
    assert main(["calibrate", "spatial", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def corners_off_mm(matrix: list[float]) -> float:
    """How far the worst corner of the image is put from where it is."""
    return float(np.linalg.norm(((np.reshape(matrix, (4, 4)) - TRUE_IMAGE_TO_PROBE) @ CORNERS.T)[:3], axis=0).max())


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("phantom") / "phantom.xml")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, phantom) -> Path:
    """Speckle, three false dots an image, and every tenth pose wrong by 6 mm and more."""
    return write_wire_sequence(tmp_path_factory.mktemp("wires") / "wires.igs.mha", phantom, count=60, wrong_poses=6)


def test_dots_are_found_to_a_fifth_of_a_pixel_through_speckle():
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:300, :400]
    truth = np.array([[100.3, 80.6], [251.5, 151.25], [330.8, 240.1]])
    image = random.rayleigh(8, (300, 400))
    for x, y in truth:
        image += 200 * np.exp(-(((columns - x) / 3) ** 2 + ((rows - y) / 2) ** 2) / 2)
    found = find_dots(np.clip(image, 0, 255).astype(np.uint8), (0.15, 0.15), 255.0)
    assert len(found.at) == 3
    assert np.abs(found.at[np.argsort(found.at[:, 0])] - truth).max() < 0.2


def test_a_dot_at_the_edge_of_the_image_is_left_out():
    rows, columns = np.mgrid[:200, :200]
    image = 200 * np.exp(-(((columns - 1) / 3) ** 2 + ((rows - 100) / 2) ** 2) / 2)
    assert not len(find_dots(image.astype(np.uint8), (0.15, 0.15), 255.0).at)


def test_the_middle_dot_says_where_along_the_wires_the_plane_lies(phantom):
    pattern = read_phantom(phantom).patterns[0]
    assert pattern.middle_mm(np.array(5 / 6)) == pytest.approx([55, 0, 20])  # at the front the diagonal is 25 of 30 mm from the first
    assert pattern.middle_mm(np.array([1 / 6]))[0] == pytest.approx([35, 40, 20])
    assert pattern.width_mm == pytest.approx(30)


def test_the_true_calibration_comes_back_from_clean_images(tmp_path, phantom, capsys):
    sequence = write_wire_sequence(tmp_path / "clean.igs.mha", phantom, speckle=0, false_dots=0)
    for axes in ("free", "orthogonal"):
        said = run(capsys, sequence, "--phantom", phantom, "-o", tmp_path / "probe.json", "--axes", axes)
        assert said["images_with_wires"] == 40
        assert corners_off_mm(said["image_to_probe"]) < 0.12
        found = np.reshape(said["image_to_probe"], (4, 4))
        assert np.linalg.det(found[:3, :3]) > 0, "a mirrored image"
        assert found[:3, 2] == pytest.approx(TRUE_IMAGE_TO_PROBE[:3, 2], abs=0.002), "upright on the image, as long as a pixel"
        assert said["geometry"]["spacing_mm"] == pytest.approx(SPACING_MM, rel=0.004)


def test_speckle_false_dots_and_wrong_poses_do_not_move_it(tmp_path, phantom, noisy, capsys):
    picture = tmp_path / "probe.png"
    said = run(capsys, noisy, "--phantom", phantom, "-o", tmp_path / "probe.json", "--picture", picture, "--probe", "test 7")
    assert said["images_with_wires"] >= 50
    assert corners_off_mm(said["image_to_probe"]) < 0.09
    assert corners_off_mm(said["image_to_probe"]) < corners_off_mm(said["closed_form"]) < 0.3
    found = said["spatial"]["calibration"]
    assert found["outliers"] >= 12, "six images with wrong poses have three middle dots each"
    assert found["space_mm"]["mean"] < 0.25 and found["in_plane_mm"]["rms"] < 0.15
    assert said["spatial"]["axes_angle_deg"] == pytest.approx(90, abs=1e-6)
    with Image.open(picture) as image:
        assert image.size[0] > WIDTH and image.getextrema()[0][1] > 200
    probe = read_probe(tmp_path / "probe.json")
    assert probe.probe == "test 7" and (probe.geometry.width, probe.geometry.height) == (WIDTH, HEIGHT)


def test_the_validation_sequence_is_judged_by_images_of_its_own(tmp_path, phantom, noisy, capsys):
    good = write_wire_sequence(tmp_path / "good.igs.mha", phantom, count=30, seed=5)
    said = run(capsys, noisy, "--phantom", phantom, "-o", tmp_path / "probe.json", "--validation", good)
    assert said["spatial"]["validation"]["images"] >= 25
    assert said["spatial"]["validation"]["space_mm"]["mean"] < 0.3


def test_a_phantom_registered_in_the_wrong_place_shows_in_the_result(tmp_path, phantom, noisy, capsys):
    other = write_phantom(tmp_path / "other.xml")
    other.write_text(other.read_text().replace("-25.3", "-26.8"))
    said = run(capsys, noisy, "--phantom", other, "-o", tmp_path / "probe.json")
    assert corners_off_mm(said["image_to_probe"]) > 1, "a wrong registration must not give the right answer"


def test_images_that_the_file_calls_invalid_do_not_count(tmp_path, phantom, capsys):
    sequence = write_wire_sequence(tmp_path / "some.igs.mha", phantom, count=20)
    head, mark, payload = sequence.read_bytes().partition(b"ElementDataFile")
    head += b"".join(b"Seq_Frame%04d_ImageStatus = INVALID\n" % index for index in range(8))
    sequence.write_bytes(head + mark + payload)
    assert run(capsys, sequence, "--phantom", phantom, "-o", tmp_path / "probe.json")["images_with_wires"] == 12


def test_a_new_calibration_keeps_the_lag_of_the_file_that_it_replaces(tmp_path, phantom, noisy, capsys):
    path = tmp_path / "probe.json"
    path.write_text("no probe file at all")
    assert run(capsys, noisy, "--phantom", phantom, "-o", path)["lag_ms"] == 0
    write_probe(path, msgspec.structs.replace(read_probe(path), lag_ms=33.0, image_to_probe=tuple(np.eye(4).ravel().tolist())))
    said = run(capsys, noisy, "--phantom", phantom, "-o", path)
    assert said["lag_ms"] == 33 and corners_off_mm(said["image_to_probe"]) < 0.2
    judged = Scale(
        sequence="w", declared_mm=(1, 1), measured_mm=(1, 1), deviation_mm=(0, 0), images=1, tolerance_percent=2, passed=True, date="d"
    )
    kept = msgspec.structs.replace(read_probe(path), scale=judged)
    geometry = kept.geometry
    deeper = [
        msgspec.structs.replace(geometry, spacing_mm=(geometry.spacing_mm[0], 1.2 * geometry.spacing_mm[1])),
        msgspec.structs.replace(geometry, depth_mm=60.0),
    ]
    for other, depth in ((geometry, 0), (deeper[0], 0), (deeper[1], 40)):
        write_probe(path, msgspec.structs.replace(kept, geometry=other))
        same = other is geometry
        assert main(["calibrate", "spatial", *map(str, (noisy, "--phantom", phantom, "-o", path, "--depth-mm", depth))]) == 0
        now = read_probe(path)
        assert (now.lag_ms, now.scale) == ((33, judged) if same else (0, None)), "a verdict is of one pixel size and depth"
        assert ("not kept" in capsys.readouterr().err) != same
    other = msgspec.structs.replace(read_probe(path).geometry, width=WIDTH + 2)
    write_probe(path, msgspec.structs.replace(read_probe(path), geometry=other))
    assert run(capsys, noisy, "--phantom", phantom, "-o", path)["lag_ms"] == 0


def test_isotropic_pixels_are_isotropic(tmp_path, phantom, noisy, capsys):
    said = run(capsys, noisy, "--phantom", phantom, "-o", tmp_path / "probe.json", "--axes", "isotropic")
    lateral, axial = said["geometry"]["spacing_mm"]
    assert lateral == pytest.approx(axial) and np.mean(SPACING_MM) == pytest.approx(lateral, rel=0.02)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"registered": False}, "has no PhantomToReference"),
        ({"wires": WIRES[:1]}, "at least 2 are needed"),
        (
            {"wires": (*WIRES[:2], ("30 0 0", "30 40 0", "35 0 0", "35 40 0", "60 0 0", "60 40 0"))},
            "the middle wire of an N is its diagonal",
        ),
        ({"wires": (*WIRES[:2], ("30 0 0", "30 40 0", "35 0 0", "35 40 x", "60 0 0", "60 40 0"))}, "EndPointBack"),
        ({"spacing": ""}, "give --spacing-mm"),
    ],
)
def test_an_unusable_phantom_is_refused_by_name(tmp_path, noisy, capsys, change, named):
    path = write_phantom(tmp_path / "phantom.xml", **change)
    assert main(["calibrate", "spatial", str(noisy), "--phantom", str(path), "-o", str(tmp_path / "p.json")]) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "p.json").exists()


def test_images_without_wires_are_refused_by_name(tmp_path, phantom, capsys):
    images = np.random.default_rng(1).integers(0, 60, (12, HEIGHT, WIDTH), dtype=np.uint8)
    sequence = write_sequence(tmp_path / "none.igs.mha", images, true_poses(12, 1))
    assert main(["calibrate", "spatial", str(sequence), "--phantom", str(phantom), "-o", str(tmp_path / "p.json")]) == 1
    assert "no image shows all wires" in capsys.readouterr().err


def test_too_few_images_are_refused_by_name(tmp_path, phantom, capsys):
    sequence = write_wire_sequence(tmp_path / "few.igs.mha", phantom, count=6)
    assert main(["calibrate", "spatial", str(sequence), "--phantom", str(phantom), "-o", str(tmp_path / "p.json")]) == 1
    assert "images with all wires are too few" in capsys.readouterr().err


def test_least_squares_finds_the_bottom_of_a_bent_valley_and_ignores_outliers():
    x = np.linspace(0, 2, 50)
    y = 1.3 * np.exp(-0.7 * x)
    assert minimised(lambda p: p[0] * np.exp(p[1] * x) - y, np.array([1.0, 0.0])) == pytest.approx([1.3, -0.7], abs=1e-6)
    y[::10] += 5
    assert minimised(lambda p: p[0] * np.exp(p[1] * x) - y, np.array([1.0, 0.0]), robust=True) == pytest.approx([1.3, -0.7], abs=0.02)


@needs_plus
def test_plus_sequences_are_calibrated_within_the_error_that_plus_states(tmp_path, capsys):
    """PLUS's configuration states 0.66 mm for the registration of this phantom, and the pixel size that its calibration found."""
    said = run(capsys, REAL, "--phantom", REAL_PHANTOM, "--validation", VALIDATION, "-o", tmp_path / "probe.json")
    assert said["images_with_wires"] >= 170
    calibration, validation = said["spatial"]["calibration"], said["spatial"]["validation"]
    assert calibration["space_mm"]["mean"] < 0.6607 and validation["space_mm"]["mean"] < 0.6607
    assert calibration["in_plane_mm"]["rms"] < 0.45 and validation["in_plane_mm"]["rms"] < 0.45
    assert validation["images"] >= 90 and calibration["outliers"] < 15
    assert said["geometry"]["spacing_mm"] == pytest.approx((0.0796446, 0.0744856), rel=0.015)
    assert np.linalg.norm(np.reshape(said["closed_form"], (4, 4))[:3, :2], axis=0) == pytest.approx((0.0796446, 0.0744856), rel=0.015)
