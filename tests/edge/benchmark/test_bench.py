"""The benchmark measures what it says, its references are right, and the volume is closer to the truth than pasting is."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edge.app import main
from edge.benchmark import frames
from edge.benchmark.accuracy import CASES, OURS, Case, compared, ours, pasted
from edge.benchmark.pasting import Grid, Pasted, fill_gaussian, fill_sticks
from edge.benchmark.quoted import PLUS, against_plus, quoted
from edge.benchmark.records import COLUMNS, BadBenchmark, Plan
from edge.benchmark.speckle_sweep import poses, speckle, to_and_fro
from edge.benchmark.stages import STAGES, chosen
from edge.compounding import VolumeSettings, missing, open_compounder

TINY = Plan(quick=True, backend="host", frames=6, image_size=(64, 48), spacings_mm=(0.5,), seconds=0.01, live_seconds=1.0, truth_frames=8)
needs_engine = pytest.mark.skipif(bool(missing("host")), reason=f"host backend: {missing('host')}")


@needs_engine
@pytest.mark.parametrize("stage", ["machine", "compounding", "modes", "gaps", "volume", "pixels", "bus", "files", "feed", "step", "probe"])
def test_every_record_has_every_column_and_travels_as_json(stage):
    found = list(STAGES[stage].measure(TINY))
    assert found
    for record in found:
        assert set(COLUMNS) <= record.keys()
        assert msgspec.json.decode(msgspec.json.encode(record)) == record
        rate = record["frames_per_s"]
        assert rate is None or rate > 0


@needs_engine
def test_a_volume_that_is_not_the_hosts_is_no_measurement(monkeypatch):
    monkeypatch.setattr(frames, "open_compounder", lambda name, settings: open_compounder(name, replace(settings, compounding="maximum")))
    with pytest.raises(BadBenchmark, match="the volume on host is not the host's"):
        list(STAGES["step"].measure(TINY))


@needs_engine
def test_the_live_stage_accounts_for_every_frame_and_says_what_each_service_holds():
    whole, *steps = STAGES["live"].measure(TINY)
    assert whole["sent"] == whole["frames"] == whole["placed"] == whole["recorded"]
    assert whole["lost"] == whole["unaccounted"] == whole["messages_missed"] == 0
    assert {"bridge", "run", "record", "probe"} == whole["memory_mib"].keys()
    assert whole["p50_ms"] <= whole["p99_ms"] <= whole["max_ms"]
    assert {step["backend"] for step in steps} >= {"bridge", "run"}
    assert msgspec.json.decode(msgspec.json.encode([whole, *steps])) == [whole, *steps]


@needs_engine
def test_the_command_prints_one_json_list_and_writes_the_same(capsys, tmp_path):
    file = tmp_path / "folder" / "figures.json"
    assert main(["bench", "--quick", "--seconds", "0.01", "--only", "pixels", "--json", "-o", str(file)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [record["stage"] for record in printed] == ["scan conversion", "resample"]
    assert json.loads(file.read_text()) == printed


def test_an_unknown_stage_is_refused_by_name():
    with pytest.raises(BadBenchmark, match="'compunding' is no stage"):
        chosen(["compunding"])
    assert chosen(["live", "machine"]) == ["machine", "live"]


def test_quoted_figures_are_marked_and_compared_only_at_equal_size_and_threads():
    assert len(quoted()) == 2 * len(PLUS)
    assert all("quoted" in record["backend"] and "IGSIO" in record["quoted"] for record in quoted())
    assert against_plus(2, 0.5, 3080.0) == {"times_plus_linear_quoted": 20.0, "times_plus_nearest_quoted": pytest.approx(3080 / 1562)}
    assert against_plus(4, 0.5, 3080.0) == against_plus(2, 0.3, 3080.0) == {}


@needs_engine
def test_the_compounding_input_touches_as_many_voxels_as_that_of_plus():
    image = np.zeros((480, 640), np.uint8)
    with open_compounder("host", VolumeSettings(spacing_mm=0.5)) as volume:
        for matrix in poses(200):
            volume.place(image, matrix)
        assert volume.voxel_counts().measured == pytest.approx(5_951_118, rel=0.01)


def test_the_speckle_is_that_of_one_look():
    images = speckle(4, (64, 48))
    power = 10 ** ((images.astype(np.float64) - 200) * 60 / 255 / 10)
    assert images.dtype == np.uint8 and images.shape == (4, 48, 64)
    assert power.std() / power.mean() == pytest.approx(1, abs=0.1)


def test_a_sweep_to_and_fro_comes_back_to_the_same_poses():
    there = to_and_fro(41, 10)
    assert np.array_equal(there[0], there[20]) and np.array_equal(there[3], there[17])
    assert not np.array_equal(there[0], there[10])


@pytest.mark.parametrize("linear", [False, True])
def test_pasting_is_the_mean_of_the_pixels_that_fall_into_a_voxel(linear):
    grid = Grid(np.array([0, 0, 0]), (3, 4, 5), 1.0)
    volume = Pasted(grid, linear)
    shift = np.eye(4)
    shift[:3, 3] = (0, 0, 1)
    for value in (10, 30):
        volume.paste(np.full((2, 3), value, np.uint8), shift)
    values, known = volume.volume()
    expected = np.zeros(grid.shape, np.bool_)
    expected[1, :2, :3] = True
    assert np.array_equal(known, expected)
    assert np.all(values[known] == 20)


def test_linear_pasting_shares_a_pixel_between_the_voxels_around_it():
    volume = Pasted(Grid(np.array([0, 0, 0]), (3, 3, 3), 1.0), linear=True)
    for depth, value in ((0.25, 100), (0.75, 200)):
        pose = np.eye(4)
        pose[2, 3] = depth
        volume.paste(np.full((1, 1), value, np.uint8), pose)
    values, _ = volume.volume()
    assert values[0, 0, 0] == pytest.approx(0.75 * 100 + 0.25 * 200)
    assert values[1, 0, 0] == pytest.approx(0.25 * 100 + 0.75 * 200)


def test_both_fillings_close_a_gap_and_leave_what_is_known():
    values = np.zeros((9, 9, 9), np.float32)
    known = np.zeros(values.shape, np.bool_)
    known[2], known[5] = True, True
    values[2], values[5] = 30, 60
    for filled, covered in (fill_gaussian(values, known), fill_sticks(values, known, np.ones_like(known))):
        assert covered[3:5, 3:6, 3:6].all()
        assert np.array_equal(filled[known], values[known])
    assert filled[3, 4, 4] == pytest.approx(40) and filled[4, 4, 4] == pytest.approx(50)
    assert not covered[0].any(), "a stick needs both ends"
    assert fill_gaussian(values, known)[0][3, 4, 4] == pytest.approx((30 * np.exp(-0.5) + 60 * np.exp(-2)) / (np.exp(-0.5) + np.exp(-2)))


def test_swept_voxels_lie_between_the_first_and_the_last_plane():
    case = Case(12, (40, 40), 0.5, 0.4)
    inside = np.argwhere(case.swept) + case.grid.first[::-1]
    z_mm = inside[:, 0] * 0.5
    assert z_mm.min() >= -0.5 and z_mm.max() <= 11 * 0.4 + 0.5
    assert len(inside) == pytest.approx(39 * 39 * 0.125**2 * 11 * 0.4 / 0.5**3, rel=0.1)


@needs_engine
@pytest.mark.parametrize(("spacing_mm", "step_mm"), CASES)
def test_the_volume_is_closer_to_the_truth_than_pasting_with_and_without_hole_filling(spacing_mm, step_mm):
    case = Case(max(int(24 * 0.4 / step_mm), 10), (112, 112), spacing_mm, step_mm)
    found = list(compared(case, [*ours(case, TINY), *pasted(case)]))
    own = [record for record in found if record["backend"].startswith(OURS)]
    others = [record for record in found if not record["backend"].startswith(OURS)]
    assert len(own) == 2 and len(others) == 6
    for record in own:
        assert record["share_covered"] > 0.999
        for other in others:
            for error in ("mae_all", "rms_all", "mae_common", "rms_common", "mae"):
                assert record[error] < other[error], f"{error}: {record} against {other}"


@needs_engine
def test_a_bundle_is_measured_alone_and_in_the_reconstructor(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")
    from tiny_network import card_json, step_graph

    from edge.motion.card import parse_card
    from export.golden_frames import random_frames
    from export.pack import pack

    card, path = parse_card(card_json(), "card.json"), tmp_path / "tiny.zip"
    pack(card, {"fp32": step_graph().SerializeToString()}, random_frames(card, 6), path)
    (alone,), (whole,) = (STAGES[stage].measure(replace(TINY, model=str(path))) for stage in ("network", "step"))
    assert alone["stage"] == "network step" and alone["model"] == "network: tiny"
    assert whole["motion"] == alone["model"] and whole["compared_bricks"] > 0
