"""What the README tells people to type exists, with every option it shows; so do the files that it names."""

import re
import shlex
from pathlib import Path

import pytest

from edge.app import commands, parser_of
from edge.services import SERVICES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINES = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("sonosweep ")]
EXAMPLES = [line.split(" #")[0].strip() for point in commands().values() for line in point.load().EXAMPLES.splitlines()]


@pytest.mark.parametrize("line", [*LINES, *(line for line in EXAMPLES if not line.endswith("--help"))])
def test_a_command_line_that_is_shown_can_be_typed(line):
    words = shlex.split(line)
    assert words[0] == "sonosweep"
    parser_of(words[1], commands()[words[1]].load()).parse_args(words[2:])


def test_the_readme_shows_each_service_and_both_commands():
    for name in SERVICES:
        assert f"sonosweep {name} " in README
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", README, re.M):
        assert f"\n{target}:" in makefile


def test_every_file_that_the_readme_links_to_exists():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
