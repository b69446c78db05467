"""What leaves the device for support holds nothing of a patient; a factory reset deletes everything, and only when it is meant."""

import hashlib
import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from edge.app import main
from edge.belongings import Belongings, scrubbed
from edge.config import load
from edge.daemon import sole
from edge.tablet.audit import Audit
from edge.tablet.certificates import Authority
from edge.tablet.library import Library, Record
from edge.tablet.pairing import Tablets

PATIENT = {
    "patient_name": "Eve Zyblikiewicz",
    "patient_id": "PAT-778899",
    "birth_date": "1961-04-05",
    "accession": "ACC-31337",
    "operator": "Nurse Quimby",
    "notes": "Lump behind the left knee; her brother Zebulon has one too",
}
SWEEPS = ("sweep_00000000000000aa_0001", "sweep_00000000000000aa_0002")
JOURNALCTL = """#!/bin/sh
echo "2026-11-29T10:00:00 device sonosweep[7]: run: a line"
echo "2026-11-29T10:00:01 device sonosweep[7]: exam of Eve Zyblikiewicz (pat-778899), ZYBLIKIEWICZ, by Nurse Quimby; 1961-04-05"
"""


@pytest.fixture
def device(tmp_path, run_dir, monkeypatch):
    """A configuration, a library with patients in every place, pairings, keys, a log, and a journal that talks too much."""
    sweeps, tablet, keys = tmp_path / "sweeps", tmp_path / "tablet", tmp_path / "keys"
    library = Library(sweeps, tmp_path / "volumes")
    for sweep in SWEEPS:
        (sweeps / f"{sweep}_0.mcap").write_bytes(b"frames with Eve Zyblikiewicz in a burnt-in corner")
        (tmp_path / "volumes" / f"{sweep}_0.nrrd").write_bytes(b"patient:=Eve Zyblikiewicz")
        (tmp_path / "volumes" / f"{sweep}_0-evezyblikiewicz.png").write_bytes(b"picture")
        library.write(Record(id=sweep, state="saved", exam=PATIENT))
    library.discard(SWEEPS[1])
    (sweeps / f".{SWEEPS[0]}.json.77.part").write_text(json.dumps({"exam": PATIENT}))
    (sweeps / "readme.txt").write_text("not a sweep")
    Tablets(tablet).add("Eve Zyblikiewicz's tablet", "operator", secure=True)
    Authority(tablet, "sonosweep").context()
    Audit(tablet).note("paired", "Eve Zyblikiewicz's tablet")
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "2.25.1.dcm").write_bytes(b"Zyblikiewicz^Eve")
    (keys / "allowed").mkdir(parents=True)
    for name in ("bridge.key", "bridge.key_secret", "allowed/probe.key"):
        (keys / name).write_text("s3cr3t-of-the-link")
    config = tmp_path / "edge.toml"
    config.write_text(
        f'run_dir = "{run_dir}"\n[record]\nfolder = "{sweeps}"\n[volume]\nsave = "{tmp_path / "volumes"}"\n[tablet]\nfolder = "{tablet}"\n'
        f'[dicom]\nfolder = "{tmp_path / "queue"}"\n'
        f'[bridge]\nserver_key = "{keys / "bridge.key_secret"}"\nallowed_keys = "{keys / "allowed"}"\n'
    )
    (tmp_path / "bin").mkdir()
    journalctl = tmp_path / "bin" / "journalctl"
    journalctl.write_text(JOURNALCTL)
    journalctl.chmod(journalctl.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return config


def bundled(device, capsys, *words):
    out = device.parent / "bundle.zip"
    assert main(["support-bundle", "-o", str(out), "--config", str(device), "--json", *words]) == 0
    capsys.readouterr()
    with zipfile.ZipFile(out) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def test_no_field_of_a_patient_gets_into_the_bundle(device, capsys):
    parts = bundled(device, capsys)
    everything = "\n".join([*parts, *parts.values()]).lower()
    for value in [*PATIENT.values(), "Zyblikiewicz", "evezyblikiewicz", "Zebulon", "Quimby"]:
        assert value.lower() not in everything, value
    assert "a line" in parts["journal.txt"] and "exam of (removed)" in parts["journal.txt"], "the journal itself was taken along"


def test_no_secret_gets_into_the_bundle(device, capsys):
    everything = "\n".join(bundled(device, capsys).values())
    tablet = device.parent / "tablet"
    tokens = json.loads((tablet / "tablets.json").read_text())
    for secret in ("s3cr3t", "BEGIN", "bridge.key_secret", *tokens):
        assert secret not in everything, secret
    assert 'server_key = "(removed)"' in everything


def test_it_holds_what_helps(device, capsys):
    parts = bundled(device, capsys)
    assert json.loads(parts["versions.json"])["packages"]["sonosweep"]
    assert json.loads(parts["audit.json"]) == {"lines": 1, "intact": True}
    assert "free_mib" in json.loads(parts["health.json"])["figures"]
    status = json.loads(parts["status.json"])
    assert status["well"] is False and {row["state"] for row in status["services"]} == {"silent"}
    files = json.loads(parts["files.json"])
    recording = device.parent / "sweeps" / f"{SWEEPS[0]}_0.mcap"
    told = {row["name"]: row["sha256"] for row in files["files"]}
    assert told[recording.name] == hashlib.sha256(recording.read_bytes()).hexdigest()
    assert f"trash/{SWEEPS[1]}_0.mcap" in told and not [name for name in told if name.endswith(".json")]
    assert files["counts"]["recordings"] == 2


def test_without_a_journal_or_a_device_it_is_written_all_the_same(device, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(device.parent / "empty"))
    config = device.parent / "other.toml"
    config.write_text(f'run_dir = "{device.parent / "none"}"\n[record]\nfolder = "{device.parent / "nowhere"}"\n')
    parts = bundled(config, capsys, "--no-hashes")
    assert parts["journal.txt"].startswith("no journal") and "no such folder" in parts["status.json"]
    assert not (device.parent / "nowhere").exists() and not (device.parent / "none").exists()


def test_a_broken_log_is_told(device, capsys):
    (device.parent / "tablet" / "audit.jsonl").write_text('{"event": "forged"}\n')
    assert json.loads(bundled(device, capsys)["audit.json"])["intact"] is False


def test_scrubbing_keeps_json_whole():
    told = {"Eve": ["about Eve", 3, {"n": "EVE and evening"}]}
    assert scrubbed(told, ["Eve"]) == {"Eve": ["about (removed)", 3, {"n": "(removed) and (removed)ning"}]}


def every_file(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def reset(device, capsys, *words):
    code = main(["factory-reset", "--config", str(device), "--json", *words])
    told = capsys.readouterr()
    return code, json.loads(told.out), told.err


def test_a_reset_without_yes_counts_and_touches_nothing(device, capsys):
    before = every_file(device.parent)
    code, told, said = reset(device, capsys)
    assert (code, told["done"], told["deleted"]) == (1, False, 0) and every_file(device.parent) == before
    assert told["counts"] == {
        "recordings": 2,
        "exams": 2,
        "volumes": 2,
        "pictures": 2,
        "DICOM objects": 0,
        "other files of sweeps": 1,
        "pairings": 1,
        "keys": 3,
        "logs": 1,
        "files of the queue for the PACS": 1,
    }
    assert said.startswith("would be deleted: 2 recordings, 2 exams")


def test_a_reset_deletes_all_that_was_gathered_and_states_it_before(device, capsys):
    code, told, said = reset(device, capsys, "--yes")
    assert (code, told["done"]) == (0, True) and said.startswith("deleting: 2 recordings")
    assert every_file(device.parent) == {
        "edge.toml", "bin/journalctl", "sweeps/readme.txt", "keys/bridge.key", "keys/bridge.key_secret", "keys/allowed/probe.key",
    }  # fmt: skip
    assert sum(Belongings(load(device)).counts().values()) == 0


def test_the_keys_of_the_link_go_only_when_they_are_named(device, capsys):
    code, told, _ = reset(device, capsys, "--yes", "--link-keys")
    assert code == 0 and told["counts"]["link keys"] == 3
    assert not [name for name in every_file(device.parent) if "key" in name]


def test_a_reset_is_refused_while_a_service_runs(device, capsys, run_dir):
    before = every_file(device.parent)
    with sole(run_dir, "record"):
        assert main(["factory-reset", "--config", str(device), "--yes"]) == 1
    assert "record is already running" in capsys.readouterr().err and every_file(device.parent) == before
