"""What `help(edge)` and the tutorial show is run, word for word, and every public name is shown."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import edge
import edge.transform

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"


@pytest.mark.parametrize("module", [edge, edge.transform], ids=lambda module: module.__name__)
def test_examples_say_what_they_give(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert found.attempted > 0 and found.failed == 0


def test_every_public_name_is_shown_in_an_example():
    examples = "".join(example.source for example in doctest.DocTestParser().get_examples(edge.__doc__))
    for name in edge.__all__:
        assert f"edge.{name}" in examples, f"help(edge) has no example of {name}"
        assert f"``{name}``" in edge.__doc__, f"help(edge) does not say what {name} is"
        assert getattr(edge, name).__doc__, f"{name} has no docstring"


def tutorial_blocks() -> list[tuple[int, str]]:
    """(line, code) of every Python block of the tutorial."""
    text = TUTORIAL.read_text()
    return [(text[: block.start()].count("\n") + 2, block[1]) for block in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)]


def test_the_tutorial_runs_from_its_first_line_to_its_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = tutorial_blocks()
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for line, code in blocks:
        exec(compile("\n" * (line - 1) + code, str(TUTORIAL), "exec"), names)
    for file in ("leg.nrrd", "leg-state.nrrd", "leg.nii.gz", "slices.png", "three-planes.png"):
        assert (tmp_path / file).stat().st_size > 1000, file


def test_the_tutorial_tells_results_that_it_checks():
    for line, code in tutorial_blocks():
        for shown in re.findall(r"#\s*->\s*(.*)", code):
            assert "assert" in code, f"{TUTORIAL.name}:{line}: says {shown} and checks nothing"
