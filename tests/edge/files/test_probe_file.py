"""The probe file in the runtime: ImageToProbe and the tracker's lag are used where they fit, and refused by name where not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic_frames import frame
from wire_phantom import placed, turned, write_sequence

from edge.app import main
from edge.evaluation.watch import watch
from edge.files import BadProbeFile, ProbeDoesNotFit, ProbeFile, open_sweep, read_probe, write_probe, write_sweep
from edge.files.plus import image_to_probe
from edge.messages import Geometry

SPINE = Path(__file__).parents[4] / "shared" / "data" / "plus" / "SpinePhantomFreehand.igs.mha"
SPINE_CONFIG = SPINE.with_name("PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml")
GEOMETRY = Geometry(width=40, height=30, spacing_mm=(0.5, 0.4), depth_mm=12)
IMAGE_TO_PROBE = placed(turned(0.1, 0.2, 0.3), (5, 6, 7)) @ np.diag([0.5, 0.4, 0.45, 1])
SPEED_MM_S = 10.0


def made(**change) -> ProbeFile:
    probe = ProbeFile(
        probe="L14-5", date="2026-11-29T12:00:00+00:00", geometry=GEOMETRY, image_to_probe=tuple(IMAGE_TO_PROBE.ravel().tolist())
    )
    return msgspec.structs.replace(probe, **change)


@pytest.fixture
def tracked(tmp_path):
    """Twenty images at 20 Hz of a probe that moves along Reference's x at 10 mm/s."""
    images = np.random.default_rng(1).integers(40, 255, (20, 30, 40), dtype=np.uint8)
    probes = [placed(turned(0, 0, 0.4), (SPEED_MM_S * i / 20, 0, 0)) for i in range(20)]
    return write_sequence(tmp_path / "tracked.igs.mha", images, probes)


def origins_mm(sweep) -> dict[int, np.ndarray]:
    return {f.sequence: f.pose.matrix[:3, 3] for f in sweep.frames() if f.pose is not None}


def test_what_is_written_is_read_back(tmp_path):
    write_probe(tmp_path / "probe.json", made(lag_ms=12.5))
    assert read_probe(tmp_path / "probe.json") == made(lag_ms=12.5)


def test_the_images_lie_where_the_calibration_says(tracked, tmp_path):
    write_probe(tmp_path / "probe.json", made())
    sweep = open_sweep(tracked, probe=tmp_path / "probe.json")
    assert sweep.has_poses and sweep.geometry.spacing_mm == pytest.approx((0.5, 0.4))
    for index, found in enumerate(sweep.frames()):
        expected = placed(turned(0, 0, 0.4), (SPEED_MM_S * index / 20, 0, 0)) @ IMAGE_TO_PROBE
        assert found.pose.matrix == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("lag_ms", [70.0, -70.0, 50.0])
def test_a_lag_reads_the_track_at_another_time(tracked, lag_ms):
    now, late = origins_mm(open_sweep(tracked, probe=made())), origins_mm(open_sweep(tracked, probe=made(lag_ms=lag_ms)))
    assert {i for i in now if i not in late} <= ({18, 19} if lag_ms > 0 else {0, 1}), "only where the track ends"
    assert 17 <= len(late) < 20
    for index, origin in late.items():
        assert origin - now[index] == pytest.approx([SPEED_MM_S * lag_ms / 1e3, 0, 0], abs=1e-6)


def test_a_lag_is_said(tracked):
    assert any("70 ms" in note for note in open_sweep(tracked, probe=made(lag_ms=70)).description["notes"])


def test_no_pose_is_made_up_in_a_gap_of_the_track(tmp_path):
    images = np.zeros((6, 30, 40), np.uint8)
    times_s = np.array([0, 0.05, 0.1, 1.1, 1.15, 1.2])
    sequence = write_sequence(tmp_path / "gap.igs.mha", images, [placed(np.eye(3), (t, 0, 0)) for t in times_s], times_s)
    assert [f.pose_status for f in open_sweep(sequence, probe=made(lag_ms=20)).frames()] == ["ok", "ok", "invalid", "ok", "ok", "missing"]


@pytest.mark.parametrize(
    ("geometry", "named"),
    [
        (Geometry(width=41, height=30, spacing_mm=(0.5, 0.4)), "images are 40 x 30, the probe file is for 41 x 30"),
        (Geometry(width=40, height=30, spacing_mm=(0.6, 0.4)), "pixels are 0.5 x 0.4 mm, the probe file is for 0.6 x 0.4 mm"),
    ],
)
def test_a_file_of_another_setting_is_refused_by_name(tmp_path, geometry, named):
    images = np.zeros((3, 30, 40), np.uint8)
    sequence = write_sequence(tmp_path / "s.igs.mha", images, [np.eye(4)] * 3, spacing="0.5 0.4 1")
    with pytest.raises(ProbeDoesNotFit, match=named):
        open_sweep(sequence, probe=made(geometry=geometry))


def test_a_file_of_another_depth_is_refused_by_name():
    with pytest.raises(ProbeDoesNotFit, match=r"depth is 24 mm, the probe file is for 12 mm"):
        made().check_fits("a sweep", 40, 30, None, 24.0)
    made().check_fits("a sweep", 40, 30, None, 0.0)


def test_sweeps_that_need_no_calibration_refuse_it_by_name(tmp_path):
    write_sweep(tmp_path / "posed.igs.mha", [frame(i, image_to_reference=tuple(np.eye(4).ravel()), pose_status="ok") for i in range(3)])
    with pytest.raises(ProbeDoesNotFit, match="holds ImageToReference"):
        open_sweep(tmp_path / "posed.igs.mha", probe=made())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"{}", "is no probe file"),
        (b"\xff\xfe", "is no probe file"),
        (msgspec.json.encode(made(image_to_probe=(1.0,) * 16)), "last row"),
        (msgspec.json.encode(made(image_to_probe=(0.0,) * 15 + (1.0,))), "singular"),
        (msgspec.json.encode(made(image_to_probe=(1.0,) * 15)), "15 numbers"),
        (msgspec.json.encode(made(lag_ms=5000)), "lag of 5000"),
        (msgspec.json.encode(made(geometry=msgspec.structs.replace(GEOMETRY, width=1)), order="sorted"), "columns"),
        (msgspec.json.encode({**msgspec.to_builtins(made()), "format": 2}), "is no probe file"),
        (msgspec.json.encode({**msgspec.to_builtins(made()), "lag": 2}), "unknown field"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, text, named):
    path = tmp_path / "probe.json"
    path.write_bytes(text)
    with pytest.raises(BadProbeFile, match=named) as refused:
        read_probe(path)
    assert str(path) in str(refused.value) and "sonosweep calibrate" in str(refused.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(BadProbeFile, match="No such file"):
        read_probe(tmp_path / "nothing.json")


def test_reconstruct_takes_the_probe_file(tracked, tmp_path, capsys):
    write_probe(tmp_path / "probe.json", made(lag_ms=50))
    words = ["reconstruct", str(tracked), "--motion", "recorded", "-o", str(tmp_path / "v.nrrd")]
    assert main([*words, "--probe", str(tmp_path / "probe.json")]) == 0
    assert (tmp_path / "v.nrrd").exists()
    capsys.readouterr()
    write_probe(tmp_path / "other.json", made(geometry=msgspec.structs.replace(GEOMETRY, height=31)))
    assert main([*words, "--probe", str(tmp_path / "other.json")]) == 1
    assert "the probe file is for 40 x 31" in capsys.readouterr().err


def test_info_says_that_a_probe_file_would_help(tracked, capsys):
    assert main(["info", str(tracked)]) == 0
    assert "--probe" in capsys.readouterr().out


@pytest.mark.skipif(not SPINE.exists(), reason="the spine phantom's sweep is not beside the repository (../shared/data/plus)")
def test_a_probe_file_says_the_same_as_the_plus_configuration_it_was_made_from(tmp_path):
    matrix = image_to_probe(SPINE_CONFIG).matrix
    lateral, axial = np.linalg.norm(matrix[:3, :2], axis=0).tolist()
    geometry = Geometry(width=820, height=616, spacing_mm=(lateral, axial))
    write_probe(tmp_path / "probe.json", made(geometry=geometry, image_to_probe=tuple(matrix.ravel().tolist())))
    by_configuration, by_probe = watch(SPINE, {}, SPINE_CONFIG), watch(SPINE, {}, probe=tmp_path / "probe.json")
    assert np.array_equal(by_configuration.true, by_probe.true) and len(by_probe.true) == 21
    preset = [tmp_path / "a.json", tmp_path / "b.json"]
    assert main(["calibrate", "constant", str(SPINE), "--plus-config", str(SPINE_CONFIG), "-o", str(preset[0])]) == 0
    assert main(["calibrate", "constant", str(SPINE), "--probe", str(tmp_path / "probe.json"), "-o", str(preset[1])]) == 0
    assert preset[0].read_bytes() == preset[1].read_bytes()


def test_a_configuration_and_a_probe_file_at_once_are_refused(tracked, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["info", str(tracked), "--plus-config", "a.xml", "--probe", "b.json"])
    assert "not allowed with" in capsys.readouterr().err
