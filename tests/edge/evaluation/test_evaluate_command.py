"""``sonosweep evaluate`` on simulated sweeps and a tiny network: what it answers, what it refuses, and the mirror."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: the tiny network is made with it (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from tiny_network import card_json, step_graph

from edge.app import main
from edge.commands import evaluate
from edge.config import MotionConfig
from edge.evaluation.baselines import constant, constant_steps
from edge.evaluation.landmarks import BadLandmarks, landmarks_path
from edge.evaluation.volumes import poses_along
from edge.evaluation.watch import NothingToCompare, watch
from edge.files import open_sweep, write_sweep
from edge.files.recording import write_recording
from edge.messages import Frame
from edge.motion import Step, open_motion
from edge.motion.accuracy import chain_of_poses, chain_of_steps, steps_of
from edge.motion.card import parse_card
from edge.motion.constant import read_preset
from edge.motion.network import open_network
from edge.motion.recorded import NotTracked
from edge.simulation import Freehand, SimulationSettings, simulate_sweep, write_simulated_sweep
from edge.transform import REFLECTION, Transform, motion
from export.golden_frames import random_frames
from export.pack import pack

TINY = parse_card(card_json(), "card.json")
MEASURES = {"frames", "path_mm", "final_drift_rate_percent", "piece_drift_rate_percent", "lpe_mm", "gpe_mm", "correlation"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.zip"
    pack(TINY, {"fp32": step_graph().SerializeToString()}, random_frames(TINY, 6), path)
    return path


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory) -> list[Path]:
    folder, paths = tmp_path_factory.mktemp("sweeps"), []
    for seed, (frames, step_mm) in enumerate(((54, 0.4), (20, -0.6))):
        settings = SimulationSettings(
            frames=frames, image_size=(64, 60), spacing_mm=(0.4, 0.4), hand=Freehand(step_mm=step_mm), seed=seed, looks=1
        )
        paths.append(folder / f"sweep{seed}.igs.mha")
        write_simulated_sweep(paths[-1], simulate_sweep(settings))
    return paths


def answer(capsys, *words) -> dict:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    assert evaluate.run(parser.parse_args([*map(str, words), "--json"])) == 0
    return json.loads(capsys.readouterr().out)


def rewritten(path: Path, out: Path, change, order=slice(None)) -> Path:
    """The sweep with other poses, or its frames in another order, numbered anew."""
    frames = list(open_sweep(path).frames())
    chosen = [
        msgspec.structs.replace(
            frames[at],
            sequence=index,
            timestamp_ns=index * 10**7,
            image_to_reference=tuple(change(frames[at].pose.matrix).ravel().tolist()),
        )
        for index, at in enumerate(range(len(frames))[order])
    ]
    write_sweep(out, chosen)
    return out


def test_every_measure_stands_beside_the_three_baselines(bundle, sweeps, capsys, tmp_path):
    told = answer(capsys, *sweeps, "--model", bundle, "-o", tmp_path / "out")
    assert [one["sweep"] for one in told["sweeps"]] == ["sweep0.igs.mha", "sweep1.igs.mha"]
    assert told["motion"] == "network: tiny"
    for one in told["sweeps"]:
        assert one.keys() >= MEASURES and one["baselines"].keys() == {"none", "constant", "decorrelation"}
        for measured in (one, *one["baselines"].values()):
            assert measured.keys() >= MEASURES
            assert list(measured["correlation"]) == ["tx", "ty", "tz", "rx", "ry", "rz"]
    first, second = told["sweeps"]
    assert (first["frames"], first["direction"], second["direction"]) == (54, "+", "-")
    assert first["piece_drift_rate_percent"] > 0 and second["piece_drift_rate_percent"] is None
    assert first["baselines"]["none"]["correlation"]["tz"] is None
    assert first["uncertainty"]["step"].keys() == {"68", "95"} and told["error_memory"]
    assert told["constant_from"] == "mean of the other sweeps"
    assert told["mean"]["lpe_mm"] == pytest.approx((first["lpe_mm"] + second["lpe_mm"]) / 2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"evaluation.json", "01-sweep0.png", "02-sweep1.png"}
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == told


def test_the_constant_motion_is_made_from_other_sweeps_only(sweeps, capsys):
    told = answer(capsys, sweeps[1], "--motion", "constant", "--adaptation", sweeps[0])
    assert told["constant_from"] == "mean of 1 adaptation sweeps"
    assert told["decorrelation_from"] == "fitted to 1 adaptation sweeps"
    assert told["sweeps"][0]["final_drift_rate_percent"] == told["sweeps"][0]["baselines"]["constant"]["final_drift_rate_percent"]
    with pytest.raises(evaluate.MeasuredOnItself, match="says nothing"):
        answer(capsys, *sweeps, "--motion", "constant", "--adaptation", sweeps[0])


def test_too_short_adaptation_sweeps_leave_the_law_of_the_simulator(sweeps, capsys):
    told = answer(capsys, sweeps[0], "--motion", "constant", "--adaptation", sweeps[1])
    assert told["decorrelation_from"] == "law of the simulator"


def test_a_wrong_direction_is_measured_where_it_was_given(bundle, sweeps, capsys):
    right, wrong = (answer(capsys, sweeps[1], "--model", bundle, "--direction", sign)["sweeps"][0] for sign in "-+")
    assert (right["direction_source"], wrong["direction_source"]) == ("given", "given")
    assert wrong["final_drift_rate_percent"] > right["final_drift_rate_percent"]
    tracked = answer(capsys, sweeps[1], "--model", bundle)["sweeps"][0]
    assert right == tracked | {"direction_source": "given"}


def test_a_mirrored_sweep_gives_the_mirrored_path_to_the_last_digit(bundle, sweeps, tmp_path):
    """The same images with poses mirrored in the first image's plane: the other direction, and nothing else."""
    mirrored = rewritten(sweeps[0], tmp_path / "mirrored.igs.mha", lambda pose: REFLECTION @ pose @ REFLECTION)
    ours, theirs = (watch(path, {"tiny": open_network(bundle)}) for path in (sweeps[0], mirrored))
    assert (ours.direction, theirs.direction) == ("+", "-")
    path, reflected = (one.estimates["tiny"].turned(one.direction).chain for one in (ours, theirs))
    assert np.abs(REFLECTION @ path @ REFLECTION - reflected).max() < 1e-12
    assert np.abs(REFLECTION @ ours.true @ REFLECTION - theirs.true).max() < 1e-9


def test_a_reversed_sweep_goes_as_it_goes_on_the_device(bundle, sweeps, tmp_path):
    """Frames from last to first: canonical steps as before, turned to the direction that the poses now have."""
    turned_back = rewritten(sweeps[0], tmp_path / "reversed.igs.mha", lambda pose: pose, slice(None, None, -1))
    watched = watch(turned_back, {"tiny": open_network(bundle)})
    assert watched.direction == "-"
    source = open_motion(MotionConfig(source="network", model=str(bundle), direction="-"))
    steps = []
    for frame in open_sweep(turned_back).frames():
        said = source.step(frame, frame.pixels, 1) if steps else source.start(frame, frame.pixels)
        steps.append(said.center_to_previous)
    live = np.eye(4)
    for step in steps[1:]:
        live = live @ step.matrix
    assert np.abs(watched.estimates["tiny"].turned("-").chain[-1] - live).max() < 1e-9
    assert watched.estimates["tiny"].steps[:, 2].mean() > 0, "canonical"


def test_poses_that_are_missing_join_the_steps_over_them(sweeps, tmp_path, bundle):
    frames = [
        msgspec.structs.replace(frame, pose_status="invalid") if frame.sequence in (0, 5, 6) else frame
        for frame in open_sweep(sweeps[1]).frames()
    ]
    write_sweep(tmp_path / "gaps.igs.mha", frames)
    whole, gaps = (watch(path, {"tiny": open_network(bundle)}) for path in (sweeps[1], tmp_path / "gaps.igs.mha"))
    assert len(gaps.true) == 17 and np.isnan(gaps.estimates["tiny"].deviations).any(1).sum() == 1
    joined = np.linalg.inv(whole.estimates["tiny"].chain[1]) @ whole.estimates["tiny"].chain[[1, 2, 3, 4, *range(7, 20)]]
    assert np.allclose(gaps.estimates["tiny"].chain, joined)


def test_too_many_lost_frames_end_the_compared_sweep_as_on_the_device(sweeps, tmp_path):
    kept = [frame for frame in open_sweep(sweeps[1]).frames() if not 8 <= frame.sequence < 12]
    write_sweep(tmp_path / "lost.igs.mha", kept)
    watched = watch(tmp_path / "lost.igs.mha", {})
    assert len(watched.true) == 8 and "4 frames are missing before frame 12" in watched.ended


def test_photoacoustic_frames_in_between_are_no_lost_frames(tmp_path):
    settings = SimulationSettings(frames=14, image_size=(48, 40), spacing_mm=(0.5, 0.5), seed=1, looks=1, photoacoustic=True)
    write_simulated_sweep(tmp_path / "both.mcap", simulate_sweep(settings))

    class Counts:
        name, relative, backend, elapsed = "counts", True, "", []

        def start(self, frame, image):
            return Step()

        def step(self, frame, image, elapsed_frames):
            self.elapsed.append(elapsed_frames)
            return Step(center_to_previous=motion((0, 0, 0.5), (0, 0, 0)))

    assert len(watch(tmp_path / "both.mcap", {"counts": Counts()}).true) == 7
    assert Counts.elapsed == [1] * 6


@pytest.fixture(scope="module")
def with_light(tmp_path_factory) -> list[Path]:
    folder, paths = tmp_path_factory.mktemp("light"), []
    for seed in range(2):
        settings = SimulationSettings(frames=60, image_size=(48, 40), spacing_mm=(0.5, 0.5), seed=seed, looks=1, photoacoustic=True)
        paths.append(folder / f"light{seed}.mcap")
        write_simulated_sweep(paths[-1], simulate_sweep(settings))
    return paths


def test_where_light_lies_between_the_constant_motion_is_one_step_an_ultrasound_frame_as_on_the_device(with_light, tmp_path):
    preset_path, volume = tmp_path / "preset.json", tmp_path / "v.nrrd"
    assert main(["calibrate", "constant", str(with_light[1]), "-o", str(preset_path)]) == 0
    preset = read_preset(preset_path)
    watched = watch(with_light[0], {})
    told = constant(watched, constant_steps([watched], preset, [])[0][0])
    assert np.allclose(told.steps, preset.motion) and len(told.steps) == 29
    words = ["reconstruct", with_light[0], "-o", volume, "--motion", "constant", "--preset", preset_path, "--direction", "+"]
    assert main([str(word) for word in [*words, "--sweep-out", tmp_path / "placed.igs.mha"]]) == 0
    placed = [frame.pose for frame in open_sweep(tmp_path / "placed.igs.mha").frames() if frame.modality == "bmode"]
    assert np.allclose(chain_of_poses(placed, *watched.size, watched.geometry.spacing_mm), told.chain, atol=1e-9)


def test_sweeps_with_light_are_each_others_constant_motion(with_light, capsys):
    told = answer(capsys, *with_light, "--motion", "constant")
    assert told["constant_from"] == "mean of the other sweeps"
    still_mm = told["mean"]["baselines"]["none"]["final_drift_mm"]
    assert told["mean"]["baselines"]["constant"]["final_drift_mm"] < 0.7 * still_mm
    fitted = answer(capsys, with_light[0], "--motion", "constant", "--adaptation", with_light[1])
    assert fitted["decorrelation_from"] == "fitted to 1 adaptation sweeps"


def test_light_that_is_lost_is_no_step_and_ultrasound_that_is_lost_is_one(with_light, tmp_path):
    frames = list(open_sweep(with_light[0]).frames())
    assert [frame.modality for frame in frames[:2]] == ["bmode", "photoacoustic"]
    lost = {5, 9, 12, 13, 16, 17, 19, 20}  # light alone, light alone, one ultrasound with light, and that twice around one of light
    write_recording(tmp_path / "lost.mcap", (frame for frame in frames if frame.sequence not in lost), {})
    watched = watch(tmp_path / "lost.mcap", {})
    steps = dict(zip(watched.sequences[1:].tolist(), watched.elapsed.tolist(), strict=True))
    assert {at: n for at, n in steps.items() if n > 1} == {14: 2, 18: 2, 22: 2} and watched.ended == ""


def test_a_constant_motion_is_not_made_of_sweeps_in_which_no_frame_follows_another(sweeps, tmp_path, capsys):
    for name, path in zip("ab", sweeps, strict=True):
        write_sweep(tmp_path / f"{name}.igs.mha", [frame for frame in open_sweep(path).frames() if frame.sequence % 2 == 0])
    with pytest.raises(NothingToCompare, match="--preset"):
        answer(capsys, tmp_path / "a.igs.mha", tmp_path / "b.igs.mha", "--motion", "constant")


def test_a_sweep_without_poses_is_refused(sweeps, tmp_path):
    frames = (msgspec.structs.replace(frame, pose_status="missing", image_to_reference=None) for frame in open_sweep(sweeps[1]).frames())
    write_sweep(tmp_path / "plain.igs.mha", frames)
    with pytest.raises(NothingToCompare, match=r"plain\.igs\.mha: 0 of 20"):
        watch(tmp_path / "plain.igs.mha", {})


def test_the_shipped_network_is_measured_where_none_is_named(sweeps, capsys):
    assert answer(capsys, sweeps[1])["motion"] == answer(capsys, sweeps[1], "--model", "small")["motion"] == "network: small"


def test_landmarks_beside_the_sweep_are_measured_and_wrong_ones_refused(sweeps, tmp_path, capsys):
    sweep = tmp_path / "marked.igs.mha"
    sweep.write_bytes(sweeps[1].read_bytes())
    landmarks_path(sweep).write_text("frame,x,y\n3,1,1\n7,64,60\n")
    told = answer(capsys, sweep, "--motion", "constant")["sweeps"][0]
    assert told["gle_mm"] > told["lle_mm"] > 0
    for wrong in ("frame,x,y\n3,0,1\n", "frame,x,y\n99,1,1\n", "frame,x\n1,1\n"):
        landmarks_path(sweep).write_text(wrong)
        with pytest.raises(BadLandmarks, match=r"marked\.landmarks\.csv"):
            answer(capsys, sweep, "--motion", "constant")


def test_reconstruct_writes_the_frames_with_the_poses_that_they_were_placed_at(sweeps, tmp_path, capsys, bundle):
    out = tmp_path / "estimated.igs.mha"
    words = ["reconstruct", sweeps[1], "-o", tmp_path / "v.nrrd", "--motion", "network", "--model", bundle, "--direction", "-"]
    assert main([str(word) for word in [*words, "--sweep-out", out, "--json"]]) == 0
    accuracy = json.loads(capsys.readouterr().out)["accuracy"][0]
    written, original = list(open_sweep(out).frames()), list(open_sweep(sweeps[1]).frames())
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(written, original, strict=True))
    watched = watch(sweeps[1], {"tiny": open_network(bundle)})
    expected = poses_along(watched, watched.estimates["tiny"].turned("-").chain)
    assert all(np.allclose(frame.pose.matrix, expected[frame.sequence].matrix, atol=1e-9) for frame in written)
    steps = steps_of(chain_of_poses([frame.pose for frame in written], *watched.size, watched.geometry.spacing_mm))
    assert np.allclose(steps, watched.estimates["tiny"].turned("-").steps, atol=1e-9)
    with pytest.raises(NotTracked, match="estimated"):
        watch(out, {})
    assert accuracy["motion"] == "network: tiny"
    assert main([str(word) for word in [*words, "--sweep-out", sweeps[1]]]) == 1
    assert "another name" in capsys.readouterr().err


def test_a_convex_probes_frames_are_written_as_the_images_that_were_placed(tmp_path):
    from edge.messages import Geometry
    from edge.placed_images import as_images

    geometry = Geometry(
        kind="convex",
        width=16,
        height=20,
        spacing_mm=(1.0, 1.0),
        radius_start_mm=20,
        radius_stop_mm=40,
        angle_start_deg=-30,
        angle_stop_deg=30,
    )
    frame = Frame(boot_id=1, sweep=0, sequence=0, timestamp_ns=0, geometry=geometry, pixels=np.full((20, 16), 99, np.uint8))
    (image,) = as_images([frame])
    assert image.geometry.kind == "linear" and image.pixels.shape == (image.geometry.height, image.geometry.width)
    assert image.pixels.max() == 99
    write_sweep(tmp_path / "convex.igs.mha", [image], poses={0: Transform("Image", "Reference", np.eye(4))})


def test_chains_survive_being_turned_twice(sweeps):
    watched = watch(sweeps[1], {"d": open_motion(MotionConfig(source="decorrelation"))})
    estimate = watched.estimates["d"]
    assert np.array_equal(estimate.turned("-").turned("-").steps, estimate.steps)
    assert np.allclose(chain_of_steps(estimate.steps), estimate.chain)
