"""``python packaging/lock.py``: renew packaging/locks/: for every flavour the one wheel of each library, with its checksum.

Needs uv (``pip install uv``): it resolves for another machine's Python, which pip does not.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from flavours import FLAVOURS, Flavour

HERE = Path(__file__).parent
ROOT = HERE.parent


def pip_download(flavour: Flavour, requirements: Path, folder: Path) -> None:
    """The wheels of a requirements file with checksums, and no other, into ``folder``."""
    target = [word for platform in flavour.platforms for word in ("--platform", platform)]
    target += ["--python-version", flavour.python, "--implementation", "cp", "--abi", flavour.tag, "--abi", "abi3", "--abi", "none"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    subprocess.run([*command, *target, "--dest", str(folder), "--requirement", str(requirements)], check=True)


def lock(name: str, flavour: Flavour) -> None:
    """Resolve, fetch, and write down what was fetched."""
    with tempfile.TemporaryDirectory() as made:
        full, wheels = Path(made, "full.txt"), Path(made, "wheels")
        command = ["uv", "pip", "compile", "--quiet", str(ROOT / "pyproject.toml"), "--extra", "dicom", "--only-binary", ":all:"]
        command += [
            "--generate-hashes",
            "--python-version",
            flavour.python,
            "--python-platform",
            flavour.uv_platform,
            "--no-annotate",
            "-o",
            str(full),
        ]
        subprocess.run(command, check=True)
        pip_download(flavour, full, wheels)
        lines = [f"# {flavour.meant_for}, {flavour.arch}; written by packaging/lock.py"]
        for wheel in sorted(wheels.iterdir(), key=lambda wheel: wheel.name.lower()):
            library, version = wheel.name.split("-")[:2]
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            lines += [f"{library.replace('_', '-').lower()}=={version} \\", f"    --hash=sha256:{digest}"]
    (HERE / "locks" / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:] or FLAVOURS:
        lock(name, FLAVOURS[name])
