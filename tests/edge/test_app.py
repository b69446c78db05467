"""The command line: what a person meets first."""

import json
import subprocess
import sys

import pytest

import edge
import edge.motion.ort as ort
from edge.app import commands, main
from edge.motion.bundle import shipped_bundles
from edge.simulation import SimulationSettings, simulate_sweep, write_simulated_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """12 small frames."""
    path = tmp_path_factory.mktemp("sweep") / "small.igs.mha"
    write_simulated_sweep(path, simulate_sweep(SimulationSettings(frames=12, image_size=(48, 40), spacing_mm=(0.6, 0.6), speckle=False)))
    return path


def test_without_a_command_all_are_listed(capsys):
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert all(name in shown for name in commands())


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    assert main(["reconstrct"]) == 2
    assert "reconstruct" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sonosweep 0.")


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_shows_examples(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown and f"sonosweep {name}" in shown


def test_the_list_of_commands_is_shown_without_loading_onnxruntime():
    code = "import sys; from edge.app import main; main(['--help']); sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_check_says_what_each_backend_lacks(capsys):
    assert main(["check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["bundles"] == list(shipped_bundles())
    backends = {(row["for"], row["backend"]): row for row in answer["backends"]}
    assert backends["compounding", "host"]["usable"]
    for row in backends.values():
        assert row["usable"] == (row["missing"] == "")


def test_a_named_error_is_one_sentence_and_no_traceback(tmp_path, capsys):
    assert main(["reconstruct", str(tmp_path / "none.igs.mha"), "-o", str(tmp_path / "v.nrrd")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("sonosweep: ") and "Traceback" not in said


def test_a_volume_with_an_unknown_ending_is_refused_before_the_work(tmp_path, capsys):
    assert main(["reconstruct", str(tmp_path / "none.igs.mha"), "-o", str(tmp_path / "v.xyz")]) == 1
    assert ".nrrd" in capsys.readouterr().err


def test_the_python_interface_is_what_it_says():
    assert all(hasattr(edge, name) for name in edge.__all__)


def test_an_output_never_replaces_an_input(sweep, capsys):
    before = sweep.read_bytes()
    for words in (["-o", str(sweep)], ["-o", str(sweep.with_suffix(".nrrd")), "--sweep-out", str(sweep)]):
        assert main(["reconstruct", str(sweep), *words]) == 1
    assert sweep.read_bytes() == before
    assert main(["reconstruct", str(sweep), "-o", str(sweep.with_name("other.igs.mha"))]) == 1
    assert "name of a sweep" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["-o", "{0}/none/../file/v.nrrd"], ["-o", "{0}/v.nrrd", "--picture", "{0}/p.txt"], ["-o", "{0}/folder.nrrd"]]
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(sweep, tmp_path, capsys, words):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.nrrd").mkdir()
    assert main(["reconstruct", str(sweep), *(word.format(tmp_path) for word in words)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("sonosweep: ")


def test_an_option_that_would_be_ignored_is_refused(sweep, tmp_path, capsys):
    recorded, constant = ["--motion", "recorded"], ["--motion", "constant"]
    idle = (
        [*recorded, "--direction", "-"],
        [*recorded, "--model", "small"],
        [*recorded, "--preset", "x.json"],
        [*constant, "--model", "x"],
    )
    for words in idle:
        assert main(["reconstruct", str(sweep), "-o", str(tmp_path / "v.nrrd"), *words]) == 1
        assert "says nothing to" in capsys.readouterr().err


def test_an_operating_system_error_is_a_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["run", "--run-dir", str(tmp_path / "file" / "run")]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said and str(tmp_path) in said


def test_a_sweep_that_broke_off_is_not_called_done(sweep, tmp_path, capsys):
    words = ["--motion", "recorded", "--json", "--spacing-mm", "0.5"]
    assert main(["reconstruct", str(sweep), "-o", str(tmp_path / "v.nrrd"), *words]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert (whole["ended"], whole["ignored"], whole["faults"]) == ("last", 0, {})
    frames = [frame for frame in edge.open_sweep(sweep).frames() if frame.sequence not in (3, 4, 5, 6, 7)]
    edge.write_sweep(tmp_path / "torn.igs.mha", frames)
    words = ["reconstruct", str(tmp_path / "torn.igs.mha"), "-o", str(tmp_path / "t.nrrd"), "--json", "--motion", "constant"]
    assert main([*words, "--direction", "+"]) == 1
    torn = json.loads(capsys.readouterr().out)
    assert torn["ended"] == "FRAMES_LOST" and torn["faults"] == {"FRAMES_LOST": 1} and torn["ignored"] > 0
    assert edge.read_volume(tmp_path / "t.nrrd").metadata["ended"] == "FRAMES_LOST"


def test_estimated_poses_never_come_back_as_tracked_ones(sweep, tmp_path, capsys):
    estimated, again = tmp_path / "estimated.igs.mha", tmp_path / "again.nrrd"
    words = ["reconstruct", str(sweep), "-o", str(tmp_path / "v.nrrd"), "--motion", "constant", "--sweep-out", str(estimated)]
    assert main([*words, "--direction", "-"]) == 0
    capsys.readouterr()
    assert main(["reconstruct", str(estimated), "-o", str(again), "--motion", "recorded", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["motion"], answer["direction"], answer["direction_source"]) == ("recorded (constant)", "-", "preset")
    assert edge.read_volume(again).metadata["motion"] == "recorded (constant)"
    assert (edge.read_volume(again).intensity == edge.read_volume(tmp_path / "v.nrrd").intensity).all()
    assert main(["calibrate", "constant", str(estimated), "-o", str(tmp_path / "p.json")]) == 1
    assert "not tracked" in capsys.readouterr().err


def test_without_options_a_sweep_is_placed_by_its_images_alone(sweep, tmp_path, capsys):
    assert main(["reconstruct", str(sweep), "-o", str(tmp_path / "v.nrrd"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["motion"], answer["direction"], answer["direction_source"]) == ("network: small", "+", "unverified")
    assert answer["placed"] == 12 and "DIRECTION_UNVERIFIED" in answer["faults"]
    compared = [row["motion"] for row in answer["accuracy"]]
    assert compared == ["network: small", "constant 10 mm/s", "no motion", "own mean motion (not knowable)"]
    assert main(["reconstruct", str(sweep), "-o", str(tmp_path / "r.nrrd"), "--motion", "recorded", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["motion"], answer["direction"], answer["accuracy"]) == ("recorded", "tracked", [])


def test_the_constant_motion_that_stands_beside_the_network_is_the_one_that_would_have_been_used(sweep, tmp_path, capsys):
    rows = {}
    for words in ([], ["--motion", "constant"]):
        common = ["reconstruct", str(sweep), "-o", str(tmp_path / "v.nrrd"), "--direction", "-", "--speed-mm-s", "12", "--json"]
        assert main([*common, *words]) == 0
        rows |= {row.pop("motion"): row for row in json.loads(capsys.readouterr().out)["accuracy"]}
    assert rows["constant 12 mm/s"] == rows["constant"]


@pytest.mark.parametrize(
    "words",
    [["reconstruct", "{sweep}", "-o", "{out}/v.nrrd"], ["demo", "--out", "{out}"], ["evaluate", "{sweep}"]],
    ids=lambda words: words[0],
)
def test_without_onnxruntime_the_default_is_refused_with_the_cure_before_the_work(sweep, tmp_path, capsys, monkeypatch, words):
    monkeypatch.setattr(ort, "find_spec", lambda name: None)
    assert main([word.format(sweep=sweep, out=tmp_path) for word in words]) == 1
    said = capsys.readouterr().err
    assert "onnxruntime is not installed (pip install" in said and said.count("\n") == 1
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}


@pytest.mark.parametrize("words", [["reconstruct", "{sweep}", "-o", "{out}/v.nrrd"], ["demo", "--out", "{out}"], ["evaluate", "{sweep}"]])
def test_an_unknown_network_is_refused_with_the_known_ones_before_the_work(sweep, tmp_path, capsys, words):
    assert main([*(word.format(sweep=sweep, out=tmp_path) for word in words), "--model", "smal"]) == 1
    said = capsys.readouterr().err
    assert "'smal' is neither" in said and all(name in said for name in shipped_bundles()) and said.count("\n") == 1
