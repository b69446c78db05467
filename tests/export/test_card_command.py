"""`sonosweep export card`: figures and words change, what runs does not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is not installed (pip install 'sonosweep[export]')")

from tiny_network import card_json, step_graph

from edge.app import main
from edge.motion.bundle import open_bundle
from edge.motion.card import parse_card
from edge.motion.network import open_network
from edge.simulation import Freehand, SimulationSettings, simulate_sweep, write_simulated_sweep
from export.golden_frames import random_frames
from export.pack import pack

CARD = parse_card(card_json(), "card.json")


@pytest.fixture(params=["tiny", "tiny.zip"])
def bundle(request, tmp_path) -> Path:
    path = tmp_path / request.param
    pack(CARD, {"fp32": step_graph().SerializeToString()}, random_frames(CARD, 6), path)
    return path


def evaluation(folder: Path, motion: str = "network: tiny", sweeps: int = 1, lpe: float = 0.25) -> Path:
    one = {
        "sweep": "leg.igs.mha",
        "final_drift_rate_percent": 5.0,
        "piece_drift_rate_percent": None,
        "lpe_mm": lpe,
        "gpe_mm": 3.0,
        "correlation": {"tx": 0.9, "tz": None},
        "uncertainty": {"step": {"68": 66.0}, "steps": {"tx": {"68": 50.0}}, "position": None},
    }
    beside = {"constant": one | {"final_drift_rate_percent": 15.0, "lpe_mm": 0.5, "correlation": {"tx": None, "tz": None}}}
    one["baselines"] = beside
    path = folder / "evaluation.json"
    path.write_text(json.dumps({"motion": motion, "sweeps": [one] * sweeps, "mean": one}))
    return path


def test_figures_of_an_evaluation_and_notes_go_into_the_card_and_replace_those_of_the_same_name(bundle, tmp_path, capsys):
    words = ["export", "card", str(bundle), "-o", str(bundle)]
    assert main([*words, "--measured", str(evaluation(tmp_path, lpe=0.4))]) == 0
    assert main([*words, "--measured", f"leg.igs.mha={evaluation(tmp_path)}", "--note", "look=one", "--note", "look=two"]) == 0
    assert main([*words, "--measured", str(evaluation(tmp_path, sweeps=3)), "--trained-on", "nothing at all"]) == 0
    capsys.readouterr()
    assert main(["export", "card", str(bundle), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trained_on"] == "nothing at all" and told["training"]["look"] == ["one", "two"]
    figures = {(one["measured_on"], one["name"]): (one["value"], one["constant_motion"]) for one in told["metrics"]}
    assert figures[("leg.igs.mha", "lpe_mm")] == (0.25, 0.5)
    assert figures[("leg.igs.mha", "correlation_tx")] == (0.9, 0.0)
    assert figures[("leg.igs.mha", "errors_of_step_within_68%")] == (0.66, 0.0)
    assert ("mean of 3 sweeps", "final_drift_rate_percent") in figures
    assert not any(name in ("piece_drift_rate_percent", "correlation_tz") for _, name in figures), "what was not measured is no figure"
    assert open_network(bundle).name == "network: tiny", "it is still proved"


def test_what_evaluate_writes_is_what_the_card_takes(bundle, tmp_path):
    sweep = tmp_path / "sweep.igs.mha"
    settings = SimulationSettings(frames=20, image_size=(64, 60), spacing_mm=(0.4, 0.4), hand=Freehand(step_mm=0.4), looks=1)
    write_simulated_sweep(sweep, simulate_sweep(settings))
    assert main(["evaluate", str(sweep), "--model", str(bundle), "-o", str(tmp_path / "out")]) == 0
    said = tmp_path / "out" / "evaluation.json"
    assert main(["export", "card", str(bundle), "--measured", str(said), "-o", str(tmp_path / "new.zip")]) == 0
    figures = {one.name: one for one in open_bundle(tmp_path / "new.zip").card.metrics if one.measured_on == "sweep.igs.mha"}
    one = json.loads(said.read_text())["sweeps"][0]
    assert figures["final_drift_rate_percent"].value == pytest.approx(one["final_drift_rate_percent"], abs=1e-4)
    assert figures["lpe_mm"].constant_motion == pytest.approx(one["baselines"]["constant"]["lpe_mm"], abs=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--measured", "{evaluation}"], "-o"),
        (["--measured", "{other}", "-o", "{bundle}"], "measures network: tiny-leg"),
        (["--measured", "{missing}", "-o", "{bundle}"], "evaluate"),
        (["--note", "recipe=mine", "-o", "{bundle}"], "trainer's own"),
        (["--note", "words", "-o", "{bundle}"], "KEY=TEXT"),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_bundle_stays(bundle, tmp_path, capsys, words, said):
    before = open_bundle(bundle).identity
    (tmp_path / "other").mkdir()
    paths = {
        "evaluation": evaluation(tmp_path),
        "other": evaluation(tmp_path / "other", "network: tiny-leg"),
        "missing": tmp_path / "no.json",
        "bundle": bundle,
    }
    assert main(["export", "card", str(bundle), *(word.format(**paths) for word in words)]) == 1
    assert said in capsys.readouterr().err
    assert open_bundle(bundle).identity == before


def test_an_archive_keeps_its_other_bytes(tmp_path):
    path = tmp_path / "tiny.zip"
    pack(CARD, {"fp32": step_graph().SerializeToString()}, random_frames(CARD, 6), path)
    held = {name: zipfile.ZipFile(path).read(name) for name in ("step.onnx", "golden.npz")}
    assert main(["export", "card", str(path), "--note", "a=b", "-o", str(tmp_path / "b.zip")]) == 0
    assert {name: zipfile.ZipFile(tmp_path / "b.zip").read(name) for name in held} == held
