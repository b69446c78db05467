"""The scale check: right spacing passes, a wrong one fails with the right cure, water is told from a wrong depth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from wire_phantom import HEIGHT, SPACING_MM, WIDTH, write_phantom, write_wire_sequence

from calibration.scale import cure
from edge.app import main
from edge.files import ProbeFile, open_sweep, read_probe, write_probe
from edge.files.recording import write_recording
from edge.messages import Frame, Geometry

PLUS = Path(__file__).parents[3] / "shared" / "data" / "plus"
REAL = PLUS / "fCal_Test_Calibration_3NWires_fCal2.0.igs.mha"
REAL_PHANTOM = PLUS / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("scale")
    phantom = write_phantom(folder / "phantom.xml", registered=False)
    registered = write_phantom(folder / "registered.xml")
    return write_wire_sequence(folder / "wires.igs.mha", registered, count=30), phantom


def run(capsys, code: int, *words) -> dict:
    capsys.readouterr()
    assert main(["calibrate", "scale", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_right_spacing_passes(files, capsys):
    said = run(capsys, 0, files[0], "--phantom", files[1], "--declared-mm", *SPACING_MM)
    assert said["passed"] and said["cure"] == ""
    assert np.abs(said["off_percent"]).max() < 0.4
    assert said["measured_mm"] == pytest.approx(SPACING_MM, rel=0.004)


def test_a_wrong_spacing_fails_and_the_right_one_is_told(files, capsys):
    said = run(capsys, 1, files[0], "--phantom", files[1], "--declared-mm", SPACING_MM[0] * 1.05, SPACING_MM[1])
    assert said["off_percent"][0] == pytest.approx(-100 * 0.05 / 1.05, abs=0.5)
    assert "lateral pixels are" in said["cure"] and "should declare 0.1498" in said["cure"] and "axial" not in said["cure"]


def test_water_is_no_fault_of_the_probe(files, capsys):
    """The same images, had they been taken in water by a probe that declares 4 % more depth than there is."""
    declared = (SPACING_MM[0], SPACING_MM[1] * 1540 / 1482)
    assert "--medium-m-s 1482" in run(capsys, 1, files[0], "--phantom", files[1], "--declared-mm", *declared)["cure"]
    assert run(capsys, 0, files[0], "--phantom", files[1], "--declared-mm", *declared, "--medium-m-s", 1482)["passed"]


def test_both_axes_off_by_the_same_points_to_the_depth():
    assert "depth setting" in cure(np.array([4.0, 4.2]), (0.1, 0.1), 1540)
    assert "depth" not in cure(np.array([4.0, -4.2]), (0.1, 0.1), 1540)


def test_the_verdict_is_kept_in_the_probe_file(files, tmp_path, capsys):
    geometry = Geometry(width=WIDTH, height=HEIGHT, spacing_mm=SPACING_MM)
    matrix = tuple(np.diag([*SPACING_MM, 0.145, 1]).ravel().tolist())
    write_probe(tmp_path / "probe.json", ProbeFile(probe="a", date="2026-11-29", geometry=geometry, image_to_probe=matrix))
    run(capsys, 1, files[0], "--phantom", files[1], "--declared-mm", 0.16, 0.14, "--probe", tmp_path / "probe.json")
    kept = read_probe(tmp_path / "probe.json")
    assert kept.scale is not None and not kept.scale.passed and kept.scale.declared_mm == (0.16, 0.14)
    assert kept.image_to_probe == matrix


def test_what_nobody_declared_cannot_be_checked(files, capsys):
    assert main(["calibrate", "scale", str(files[0]), "--phantom", str(files[1])]) == 1
    assert "give what the front end declares with --declared-mm" in capsys.readouterr().err


@pytest.mark.skipif(not REAL.exists(), reason="PLUS's N-wire sequences are not beside the repository (../shared/data/plus)")
def test_pixels_of_the_plus_sequence_are_as_large_as_plus_found(capsys):
    said = run(capsys, 0, REAL, "--phantom", REAL_PHANTOM, "--declared-mm", 0.0796446, 0.0744856)
    assert np.abs(said["off_percent"]).max() < 1.5 and said["images"] > 170


def test_a_recording_of_the_device_is_checked_by_the_spacing_that_its_front_end_declared(files, tmp_path, capsys):
    sequence = open_sweep(files[0])
    for name, spacing_mm, code in (("right", SPACING_MM, 0), ("wrong", (0.15, 0.147), 1)):
        geometry = Geometry(width=WIDTH, height=HEIGHT, spacing_mm=spacing_mm)
        frames = [
            Frame(boot_id=1, sweep=1, sequence=i, timestamp_ns=i * 50_000_000, geometry=geometry, pixels=pixels)
            for i, pixels in enumerate(sequence.images())
        ]
        write_recording(tmp_path / f"{name}.mcap", frames, {})
        said = run(capsys, code, tmp_path / f"{name}.mcap", "--phantom", files[1])
        assert said["declared_mm"] == list(spacing_mm)
        assert said["measured_mm"] == pytest.approx(SPACING_MM, rel=0.006)
