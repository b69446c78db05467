"""Who gets in: somebody who stands at the device, once, within two minutes, with five tries."""

import json

import pytest

from edge.tablet import pairing
from edge.tablet.pairing import DIGITS, OPEN_S, TRIES, Tablets, TabletsUnreadable, Window


@pytest.fixture
def window():
    window = Window()
    window.open(100.0)
    return window


def test_closed_until_somebody_opens_it():
    assert Window().enter(0.0) == Window().enter(0.0, "", "00000000") == "PAIRING_CLOSED"


@pytest.mark.parametrize("way", ["secret", "code"])
def test_it_opens_once(window, way):
    key = {way: getattr(window, way)}
    assert window.enter(101.0, **key) == ""
    assert window.enter(101.0, **key) == "PAIRING_CLOSED"


def test_it_closes_after_two_minutes(window):
    assert window.open_s(100.0 + OPEN_S - 1) == pytest.approx(1)
    assert window.enter(100.0 + OPEN_S + 1, code=window.code) == "PAIRING_CLOSED"


def test_the_last_wrong_try_closes_it(window):
    code = window.code
    wrong = f"{(int(code) + 1) % 10**DIGITS:0{DIGITS}d}"
    assert [window.enter(101.0, code=wrong) for _ in range(TRIES)] == ["WRONG_CODE"] * TRIES
    assert window.enter(101.0, code=code) == "PAIRING_CLOSED"


def test_an_empty_key_never_opens(window):
    assert window.enter(101.0) == window.enter(101.0, "", "") == "WRONG_CODE"
    assert window.enter(101.0, "\u00e9", "\u0664") == "WRONG_CODE"


def test_opening_again_makes_the_old_code_worthless(window):
    old = window.secret
    window.open(101.0)
    assert window.secret != old and len(window.code) == DIGITS and window.enter(102.0, secret=old) == "WRONG_CODE"


def test_tokens_are_kept_as_hashes_and_survive_a_restart(tmp_path):
    token = Tablets(tmp_path).add("iPad", "operator", secure=True)
    text = (tmp_path / "tablets.json").read_text()
    assert token not in text
    again = Tablets(tmp_path)
    assert again.find(token).name == "iPad" and again.find(token + "x") is None and again.find("") is None


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    tablets = Tablets(tmp_path)
    for _ in range(3):
        tablets.add("iPad", "viewer", secure=True)
    assert sorted(tablet.name for tablet in tablets.all()) == ["iPad", "iPad 2", "iPad 3"]


def test_a_revoked_or_old_token_opens_nothing(tmp_path, monkeypatch):
    tablets = Tablets(tmp_path)
    first, second = tablets.add("a", "operator", secure=False), tablets.add("b", "operator", secure=True)
    assert tablets.revoke("b") and not tablets.revoke("b") and tablets.find(second) is None
    now = pairing.time.time()
    monkeypatch.setattr(pairing.time, "time", lambda: now + pairing.PLAIN_LIFE_S + 1)
    assert tablets.find(first) is None


def test_a_damaged_file_lets_nobody_in_and_says_what_to_do(tmp_path):
    (tmp_path / "tablets.json").write_text(json.dumps({"x": {"name": 3}}))
    with pytest.raises(TabletsUnreadable, match="pair the tablets again"):
        Tablets(tmp_path)
