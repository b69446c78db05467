"""The audit log: every line is chained to the one before."""

import json

import pytest

from edge.tablet import audit
from edge.tablet.audit import Audit, AuditBroken, verify


def test_lines_are_chained_and_a_restart_goes_on(tmp_path):
    Audit(tmp_path).note("paired", "iPad", "operator")
    log = Audit(tmp_path)
    log.note("start", "iPad")
    log.note("stop", "iPad")
    assert verify(log.path) == 3


@pytest.mark.parametrize("harm", ["change", "cut", "swap"])
def test_what_was_done_to_the_log_shows(tmp_path, harm):
    log = Audit(tmp_path)
    for name in "abcd":
        log.note(name)
    lines = log.path.read_text().splitlines()
    if harm == "change":
        lines[1] = lines[1].replace('"b"', '"x"')
    elif harm == "cut":
        del lines[1]
    else:
        lines[1], lines[2] = lines[2], lines[1]
    log.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(AuditBroken, match="line 2"):
        verify(log.path)


def test_a_line_that_the_power_cut_does_not_stop_the_log(tmp_path):
    log = Audit(tmp_path)
    log.note("a")
    with log.path.open("a") as out:
        out.write('{"time": "20')
    Audit(tmp_path).note("b")
    assert verify(log.path) == 2


def test_a_flood_of_refusals_is_counted_and_not_written(tmp_path, monkeypatch):
    log = Audit(tmp_path)
    for _ in range(audit.REFUSALS_A_MINUTE + 500):
        log.refused("WRONG_HOST", "1.2.3.4", "x" * 1000)
    assert len(log.path.read_text().splitlines()) == audit.REFUSALS_A_MINUTE
    log._refusals._taken.clear()
    log.refused("WRONG_HOST", "1.2.3.4", "y")
    assert "500 more were refused" in log.path.read_text().splitlines()[-1]


def test_a_full_log_is_put_aside_and_the_chain_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "LARGEST_BYTES", 2000)
    log = Audit(tmp_path)
    for n in range(30):
        log.note(f"event {n}")
    older = tmp_path / "audit.1.jsonl"
    assert verify(older) and verify(log.path)
    assert json.loads(log.path.read_text().splitlines()[0])["before"] == json.loads(older.read_text().splitlines()[-1])["hash"]


def test_a_disk_that_takes_no_line_leaves_the_log_sound_and_what_happened_in_the_journal(tmp_path, monkeypatch, capsys):
    log = Audit(tmp_path)
    log.note("a")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(audit.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            log.note("pairing opened")
        log.note_done("purge", "iPad", "sweep_1 done")
    assert "not in the audit log: purge iPad sweep_1 done" in capsys.readouterr().err
    log.note("b")
    assert verify(log.path) == 2
