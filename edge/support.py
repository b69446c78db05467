"""What whoever is asked for help needs to know of a device, in one zip file, with nothing that names a patient.

Never in it: images, recordings, volumes, exams, keys, names of tablets. What could carry free words (logs, details of faults) is searched
for everything that the device's exams say of patients, and that is taken out.
"""

from __future__ import annotations

import platform
import subprocess
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import zmq

from edge.atomic import replacing
from edge.belongings import Belongings, scrubbed
from edge.config import Config, Layered, sections
from edge.config_text import as_text
from edge.errors import SonosweepError
from edge.health import Watch, now_utc
from edge.overview import Overview
from edge.tablet.audit import AuditBroken, verify

PACKAGES = ("sonosweep", "numpy", "pyzmq", "msgspec", "aiohttp", "mcap", "onnxruntime", "pycuda", "tensorrt")
JOURNAL = ["journalctl", "--unit=sonosweep-*", "--lines=5000", "--no-pager", "--output=short-iso"]
JOURNAL_S = 20.0
SECRET = ("key", "keys", "password", "secret", "token")  # how the names of such values end
README = """What this file holds: versions.json, config.toml (secrets removed), status.json (of the services, with faults by name),
health.json, audit.json (whether the log of who did what is intact, not what it says), files.json (names, sizes and hashes of the
sweeps' files, not their contents), journal.txt. No images, exams, patient's names, keys or names of tablets.
"""


def write_bundle(path: Path, layered: Layered, *, hashes: bool = True, listen_s: float = 2.5) -> list[str]:
    """Write the zip; answers the names of what is in it."""
    config = layered.config
    belongings = Belongings(config)
    words = belongings.patient_values()
    parts: dict[str, Any] = {
        "README.txt": README,
        "versions.json": _versions(),
        "config.toml": as_text(_without_secrets(layered)) + "\n",
        "status.json": _status(Path(config.run_dir), listen_s),
        "health.json": _health(config),
        "audit.json": _audit(Path(config.tablet.folder) / "audit.jsonl"),
        "files.json": {"counts": belongings.counts(), "files": list(belongings.hashes()) if hashes else []},
        "journal.txt": _journal(),
    }
    with replacing(path) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in parts.items():
            clean = scrubbed(content, words)
            data = clean.encode() if isinstance(clean, str) else msgspec.json.format(msgspec.json.encode(clean), indent=1)
            bundle.writestr(name, data)
    return list(parts)


def _versions() -> dict[str, Any]:
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    release = Path("/etc/os-release")
    board = Path("/proc/device-tree/model")
    return {
        "made": now_utc(),
        "packages": packages,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "board": board.read_text(errors="replace").strip("\0\n") if board.exists() else "",
        "system": _lines_of(release, ("PRETTY_NAME=",)),
        "l4t": _lines_of(Path("/etc/nv_tegra_release"), ("#",)),
    }


def _lines_of(path: Path, beginnings: Iterable[str]) -> list[str]:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [line for line in lines if line.startswith(tuple(beginnings))]


def _without_secrets(layered: Layered) -> Layered:
    changed: dict[str, Any] = {}
    for table in sections():
        section = getattr(layered.config, table)
        hidden = {
            name: "(removed)"
            for name in section.__struct_fields__
            if name.rpartition("_")[2] in SECRET and isinstance(getattr(section, name), str)
        }
        hidden = {name: word for name, word in hidden.items() if getattr(section, name)}
        changed[table] = msgspec.structs.replace(section, **hidden)
    return Layered(msgspec.structs.replace(layered.config, **changed), layered.origin)


def _status(run_dir: Path, listen_s: float) -> dict[str, Any]:
    with zmq.Context() as context:
        try:
            overview = Overview(context, run_dir)
        except SonosweepError as wrong:
            return {"error": str(wrong)}
        try:
            overview.hear(listen_s, until_known=True)
            return overview.told()
        finally:
            overview.close()


def _health(config: Config) -> dict[str, Any]:
    folder = Path(config.record.folder)
    if not folder.is_dir():
        return {"error": f"{folder}: no such folder"}
    watch = Watch(folder)
    watch.look(0.0)
    return {"figures": watch.figures, "standing": watch.standing}


def _audit(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"lines": 0, "intact": True}
    try:
        return {"lines": verify(path), "intact": True}
    except AuditBroken as wrong:
        return {"intact": False, "error": str(wrong)}


def _journal() -> str:
    try:
        told = subprocess.run(JOURNAL, capture_output=True, text=True, errors="replace", timeout=JOURNAL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as wrong:
        return f"no journal: {wrong}\n"
    return told.stdout or f"no journal: {told.stderr}"
