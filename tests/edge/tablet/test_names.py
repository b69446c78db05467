"""Names from outside stay in the data folder, whatever is written in them."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.tablet.names import BadName, safe_file
from edge.tablet.privacy import PATIENT_FIELDS, without_patient
from edge.tablet.refusals import REFUSALS

TRICKS = [
    "",
    ".",
    "..",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "..\\x",
    "a\0.png",
    "\0",
    ".hidden",
    "-rf",
    "x" * 121,
    "a b",
    "a\n",
    "a\r\nSet-Cookie:",
    "%2e%2e%2f",
    "é.png",
    "\u202egnp.exe",
    "\uff0e\uff0e\uff0f",
    "~root",
    "$HOME",
    "a;b",
    "C:x",
    "a|b",
    "*",
    "a\u0000b",
    "\ud800",
]


@pytest.mark.parametrize("name", TRICKS)
def test_a_tricky_name_is_refused(tmp_path, name):
    with pytest.raises(BadName) as refused:
        safe_file(tmp_path, name)
    assert (refused.value.name, refused.value.status) == ("BAD_NAME", 400)


@pytest.mark.parametrize("name", ["a.png", "sweep_00000000deadbeef_0001.igs.mha", "view-3_b.webm", "x" * 120, "a..b"])
def test_a_plain_name_stays_in_its_folder(tmp_path, name):
    assert safe_file(tmp_path, name) == tmp_path / name


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.one_of(st.text(), st.text(alphabet="./\\a\0%~-_"), st.from_regex(r"(\.\./)*[a-z./]{0,9}")))
def test_no_name_at_all_leaves_the_folder(tmp_path, name):
    try:
        path = safe_file(tmp_path, name)
    except BadName:
        return
    assert Path(os.path.realpath(path)).parent == Path(os.path.realpath(tmp_path))


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_not(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "real.png").write_text("x")
    (folder / "out.png").symlink_to(tmp_path / "secret")
    (folder / "up.png").symlink_to("..")
    (folder / "dangling.png").symlink_to("/nowhere/at/all")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "in.png").symlink_to("real.png")
    for name in ("out.png", "up.png", "dangling.png"):
        with pytest.raises(BadName, match="leads out"):
            safe_file(folder, name)
    assert safe_file(folder, "in.png").read_text() == "x"


def test_a_folder_that_is_itself_a_link_is_no_way_out(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to("disk")
    assert safe_file(tmp_path / "data", "a.png") == tmp_path / "data" / "a.png"


def test_what_names_a_patient_is_left_out_and_the_rest_kept():
    exam = {
        "patient_name": "A",
        "patient_id": "1",
        "birth_date": "1970-01-01",
        "accession": "7",
        "sex": "F",
        "body_part": "leg",
        "notes": "",
    }
    assert without_patient(exam) == {"sex": "F", "body_part": "leg", "notes": ""}
    assert len(exam) == 7, "the original was changed"
    assert PATIENT_FIELDS == {"patient_name", "patient_id", "birth_date", "accession", "study_uid"}


def test_every_refusal_has_a_status_of_the_contract_and_a_sentence_with_a_cure():
    for name, refusal in REFUSALS.items():
        assert refusal.status in {400, 401, 403, 404, 409, 413, 429}, name
        assert refusal.text.count(".") >= 2 or ";" in refusal.text or "," in refusal.text or ":" in refusal.text, name
