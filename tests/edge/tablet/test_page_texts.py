"""Every word of the page stands in its message files, in every language."""

import json
import re
from pathlib import Path

import pytest

from edge.faults import FAULTS
from edge.tablet.guide import Guide
from edge.tablet.presets import LANGUAGES, PRESETS
from edge.tablet.refusals import REFUSALS

PAGE = Path(__file__).parents[3] / "edge" / "tablet" / "page"
WORDS = {name: json.loads((PAGE / "lang" / f"{name}.json").read_text()) for name in LANGUAGES}
SCRIPTS = sorted(PAGE.glob("js/**/*.js"))
CHOSEN = re.compile(r"t\(`([a-z_.]+)\.\$\{")  # t(`guide.${verdict}`)


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_have_the_same_keys_and_places(language):
    assert WORDS[language].keys() == WORDS["en"].keys()
    for key, text in WORDS[language].items():
        assert text.strip(), key
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", WORDS["en"][key])), key


def test_faults_and_refusals_have_the_devices_own_words():
    assert {name: WORDS["en"][f"fault.{name}"] for name in FAULTS} == {name: fault.operator for name, fault in FAULTS.items()}
    assert {name: WORDS["en"][f"error.{name}"] for name in REFUSALS} == {name: refusal.text for name, refusal in REFUSALS.items()}


def test_every_key_that_a_script_names_exists():
    for path in SCRIPTS:
        text = path.read_text()
        for key in re.findall(r"(?<![\w.])t\(\s*'([a-z0-9_.-]+)'", text, re.I):
            assert key in WORDS["en"], f"{path.name}: {key}"
        for prefix in CHOSEN.findall(text):
            assert any(key.startswith(f"{prefix}.") for key in WORDS["en"]), f"{path.name}: {prefix}"


def test_no_sentence_stands_in_a_script():
    for path in SCRIPTS:
        if not (
            path.parent.name == "screens" or path.name in ("status_bar.js", "guide.js", "faults.js", "live_image.js", "measure_tools.js")
        ):
            continue
        code = (
            re.sub(r"//.*|/\*.*?\*/", "", path.read_text(), flags=re.S) if path.suffix != ".js" else re.sub(r"//.*", "", path.read_text())
        )
        assert not re.findall(r"'[A-Z][a-z]+ [a-z]+[^']*'", code), path.name


def test_what_the_device_chooses_among_has_words():
    for preset in PRESETS:
        assert f"preset.{preset['name']}" in WORDS["en"]
    for verdict in ("none", "ok", "fast", "too_fast", "stopped", "no_contact"):
        assert f"guide.{verdict}" in WORDS["en"]
    assert Guide().verdict == "none"
