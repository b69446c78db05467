"""What the pages of docs/ tell people to type exists, and so do the files and headings that they name."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import edge
from calibration.commands import calibrate
from edge.app import commands, parser_of

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
GUIDES = [
    ROOT / "docs" / f"{name}.md"
    for name in ("calibration", "dicom", "files", "integrators", "openigtlink", "photoacoustics", "slicer", "tutorial")
]
LINES = [
    (page.name, line.split(" #")[0].strip()) for page in GUIDES for line in page.read_text().splitlines() if line.startswith("sonosweep ")
]


LINES += [
    (name, line.split(" #")[0].strip())
    for name, action in calibrate.ACTIONS.items()
    for line in __import__(action.module, fromlist=["EXAMPLES"]).EXAMPLES.splitlines()
]


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_line_that_a_guide_shows_can_be_typed(page, line):
    words = shlex.split(line)
    command = commands()[words[1]].load()
    options = parser_of(words[1], command).parse_args(words[2:])
    if actions := getattr(command, "ACTIONS", None):
        action = __import__(actions[options.action].module, fromlist=["add_arguments"])
        parser_of(f"{words[1]} {options.action}", action).parse_args(options.arguments)


def test_the_pictures_are_turned_as_slicer_turns_its_views():
    """Slicer's presets: Red has left to the right, posterior down; Yellow posterior to the right, Green left to the right, superior up."""
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    grey = np.zeros((10, 20, 30), np.uint8)  # z, y, x
    i, j, k = 4, 15, 8
    grey[k, j, i] = 255
    sheet = np.asarray(pictures.views(edge.Volume(grey, (0, 0, 0), 1.0), (k, j, i), labels=False)).min(2)
    step, gap, top, left = pictures.SCALE, pictures.GAP, 44, pictures.GAP
    for wide, across, down in ((30, i, j), (20, j, 10 - 1 - k), (30, i, 10 - 1 - k)):
        assert sheet[top + step * down + 1, left + step * across + 1] == 255
        left += step * wide + gap


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_headings_that_a_page_links_to_exist(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = [re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", target.read_text(), re.M)]
            assert anchor in headings, f"{page.name}: {link}; there are {headings}"


def test_every_page_is_reached_from_the_readme_or_a_page():
    named = "".join(page.read_text() for page in [ROOT / "README.md", *PAGES])
    for page in PAGES:
        assert f"({page.name}" in named or f"(docs/{page.name}" in named, f"nothing leads to {page.name}"
