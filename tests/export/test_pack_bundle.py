"""Packing bundles: what passes proves itself, and what does not is refused before it has a name."""

from __future__ import annotations

import argparse
import json
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'sonosweep[export]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'sonosweep[network]')")

from tiny_network import SIZE, card_json, step_graph  # noqa: E402

from edge.app import main  # noqa: E402
from edge.motion.bundle import open_bundle  # noqa: E402
from edge.motion.card import parse_card  # noqa: E402
from edge.motion.stepper import BundleMismatch  # noqa: E402
from export.commands import bundle as bundle_command  # noqa: E402
from export.golden_frames import NoGoldenFrames, frames_of_sweep, random_frames  # noqa: E402
from export.graph import GraphUnfit, check_graph  # noqa: E402
from export.pack import ProofFailed, pack  # noqa: E402

LEG = Path(__file__).parents[3] / "shared" / "data" / "leg" / "leg_1014_1026.igs.mha"
CARD = parse_card(card_json(), "card.json")
FRAMES = random_frames(CARD, 6)
GRAPH = step_graph().SerializeToString()


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "step.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("name", ["tiny", "tiny.zip"])
def test_a_packed_bundle_opens_and_is_proved_both_ways(tmp_path, name):
    packed = pack(CARD, {"fp32": GRAPH}, FRAMES, tmp_path / name)
    assert max(packed.differences.values()) <= 1e-5
    assert packed.controls["other images"] > 0.01
    assert packed.controls["forgotten state"] > 0.01
    bundle = open_bundle(tmp_path / name)
    assert bundle.identity == packed.identity
    assert set(bundle.card.files) == {"step.onnx", "golden.npz"}
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing else is left behind"


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("a.zip", "b.zip"):
        pack(CARD, {"fp32": GRAPH}, FRAMES, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_graph_that_does_not_look_at_its_images_is_refused(tmp_path):
    with pytest.raises(ProofFailed, match="does not look at what it is given"):
        pack(CARD, {"fp32": step_graph(gain=0.0).SerializeToString()}, FRAMES, tmp_path / "blind.zip")
    assert not list(tmp_path.iterdir())


def test_a_golden_sequence_without_movement_proves_nothing(tmp_path):
    still = np.repeat(FRAMES[:1], 5, axis=0)
    with pytest.raises(ProofFailed, match="movement"):
        pack(CARD, {"fp32": step_graph(gain=1e-7).SerializeToString()}, still, tmp_path / "still.zip")


def test_a_graph_that_is_not_the_cards_is_refused(tmp_path):
    other = parse_card(card_json(motion={"output": "speed", "scale": [1] * 6}), "card.json")
    with pytest.raises(BundleMismatch, match=r"output (speed|motion|log_variance) is"):
        pack(other, {"fp32": GRAPH}, FRAMES, tmp_path / "other.zip")
    assert not list(tmp_path.iterdir())


def test_a_tolerance_for_an_output_that_is_none_is_refused(tmp_path):
    card = parse_card(card_json(graphs={"fp32": {"file": "step.onnx", "tolerance": {"speed": 1.0}}}), "card.json")
    with pytest.raises(ProofFailed, match="speed"):
        pack(card, {"fp32": GRAPH}, FRAMES, tmp_path / "a.zip")


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ProofFailed, match="is there already"):
        pack(CARD, {"fp32": GRAPH}, FRAMES, tmp_path)


def test_a_good_graph_passes_with_its_facts(tmp_path):
    facts = check_graph(saved(tmp_path, step_graph()))[1]
    assert (facts.opset, facts.ir) == (19, 9)


def test_a_graph_newer_than_the_devices_is_refused(tmp_path):
    with pytest.raises(GraphUnfit, match="opset 21"):
        check_graph(saved(tmp_path, step_graph(opset=21)))


def test_an_lstm_operator_is_refused(tmp_path):
    def value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, 1, shape)

    node = onnx.helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2)
    weights = [onnx.numpy_helper.from_array(np.zeros((1, 8, n), np.float32), name) for name, n in (("w", 3), ("r", 2))]
    graph = onnx.helper.make_graph([node], "g", [value("x", [1, 1, 3])], [value("y", [1, 1, 1, 2])], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    with pytest.raises(GraphUnfit, match="LSTMCell"):
        check_graph(saved(tmp_path, model))


@pytest.mark.parametrize("content", [b"", b"noise" * 20, GRAPH[:200]])
def test_noise_is_no_graph(tmp_path, content):
    path = tmp_path / "step.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphUnfit, match="valid ONNX"):
        check_graph(path)


def test_random_golden_frames_are_the_same_everywhere_and_move():
    assert np.array_equal(FRAMES, random_frames(CARD, 6))
    assert FRAMES.shape == (6, SIZE, SIZE)
    assert FRAMES.std() > 10
    assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0.999 for a, b in pairwise(FRAMES))


@pytest.mark.skipif(not LEG.exists(), reason=f"{LEG} is not there")
def test_the_command_packs_a_real_sweep_and_tells_it_in_json(tmp_path, capsys):
    (tmp_path / "card.json").write_bytes(card_json())
    graph, out = saved(tmp_path, step_graph()), tmp_path / "tiny.zip"
    words = [str(graph), "--card", str(tmp_path / "card.json"), "--golden", str(LEG), "-o", str(out), "--json"]
    parser = argparse.ArgumentParser()
    bundle_command.add_arguments(parser)
    assert bundle_command.run(parser.parse_args(words)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["golden_frames"] == 6
    assert told["identity"] == open_bundle(out).identity
    assert zipfile.is_zipfile(out)
    assert len(frames_of_sweep(LEG, CARD, 100)) == 13


def test_export_without_an_action_lists_them(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "bundle" in capsys.readouterr().out


def test_a_sweep_too_short_for_a_proof_is_refused():
    if not LEG.exists():
        pytest.skip(f"{LEG} is not there")
    with pytest.raises(NoGoldenFrames, match="2 B-mode frames"):
        frames_of_sweep(LEG, CARD, 2)
