"""What a shared object asks of the machine: its processor, the newest glibc symbol, the libraries it needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

GLIBC = re.compile(r"\bGLIBC_(\d+)\.(\d+)")
NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")


class Wants(NamedTuple):
    """``machine``: e_machine of the ELF header. ``glibc``: newest symbol, (0, 0) where none is versioned."""

    machine: int
    glibc: tuple[int, int]
    needed: tuple[str, ...]


def wants(path: Path) -> Wants:
    """Read with binutils' readelf, which knows every processor."""
    head = path.read_bytes()[:20]
    said = subprocess.run(["readelf", "--wide", "-d", "-V", str(path)], capture_output=True, text=True, check=True).stdout
    newest = max(((int(major), int(minor)) for major, minor in GLIBC.findall(said)), default=(0, 0))
    return Wants(int.from_bytes(head[18:20], "little"), newest, tuple(NEEDED.findall(said)))


def is_elf(path: Path) -> bool:
    """By its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def complaints(folder: Path, machine: int, newest_glibc: tuple[int, int]) -> list[str]:
    """Every object in ``folder`` that is for another processor or asks for a newer glibc."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and is_elf(path)):
        asked = wants(path)
        if asked.machine != machine:
            found.append(f"{path.relative_to(folder)}: is for ELF machine {asked.machine}, not {machine}")
        if asked.glibc > newest_glibc:
            found.append(f"{path.relative_to(folder)}: wants GLIBC_{asked.glibc[0]}.{asked.glibc[1]}; the oldest system has {newest_glibc}")
    return found
