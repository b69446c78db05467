"""The command line: what a person meets first."""

import json

import pytest

import edge
from edge.app import commands, main


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


def test_check_says_what_each_backend_lacks(capsys):
    assert main(["check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
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
