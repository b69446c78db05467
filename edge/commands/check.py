"""``sonosweep check``: what this machine can run, and what each backend lacks."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edge.commands.options import add_json
from edge.compounding import BACKENDS, missing
from edge.console import result, table
from edge.motion.bundle import shipped_bundles
from edge.motion.network import MOTION_BACKENDS

SUMMARY = "what this machine can run, and what each backend lacks"
EXAMPLES = """  sonosweep check
  sonosweep check --json"""
PACKAGES = ("sonosweep", "numpy", "pyzmq", "msgspec", "mcap", "onnxruntime", "pycuda", "tensorrt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Only the form of the answer."""
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Always 0 where at least one compounding backend can run."""
    backends = [_row("compounding", name, missing(name)) for name in BACKENDS]
    backends += [_row("motion network", name, backend.missing()) for name, backend in MOTION_BACKENDS.items()]
    machine = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "free_disk_gib": round(shutil.disk_usage(".").free / 2**30, 1),
    }
    packages = {name: _version(name) for name in PACKAGES}
    bundles = list(shipped_bundles())
    rows = "\n".join(f"{name:>12}  {found or 'not installed'}" for name, found in packages.items())
    head = f"{machine['machine']}, {machine['cores']} cores, Python {machine['python']}, {machine['free_disk_gib']} GiB free here"
    text = f"{head}\n\n{table(backends, ['for', 'backend', 'usable', 'missing'])}\n\n{rows}\n{'bundles':>12}  {', '.join(bundles)}"
    result(machine | {"packages": packages, "backends": backends, "bundles": bundles}, as_json=options.json, text=text)
    return 0 if any(row["usable"] for row in backends if row["for"] == "compounding") else 1


def _row(purpose: str, name: str, lack: str) -> dict[str, Any]:
    return {"for": purpose, "backend": name, "usable": not lack, "missing": lack}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
