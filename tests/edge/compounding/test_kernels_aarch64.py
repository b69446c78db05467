"""The kernels built for the Jetson's processor make the bytes that they make here."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SWEEP = Path(__file__).with_name("one_sweep.cpp")
CROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
NEEDED = {CROSS: "g++-aarch64-linux-gnu", EMULATOR: "qemu-user"}
FUSED = re.compile(r"\sf(n?m(add|sub)|ml[as])\s")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the library and the program for aarch64, and one for this machine."""
    for program, package in NEEDED.items():
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: sudo apt install {package}")
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup_for_tests")
    folders = {}
    for command in (setup["compiler"](), [CROSS]):
        folder = folders[command[0] == CROSS] = tmp_path_factory.mktemp("built")
        setup["build_library"](folder / setup["LIBRARY"], command=command)
        link = [f"-L{folder}", f"-l:{setup['LIBRARY']}", f"-Wl,-rpath,{folder}"]
        subprocess.run([*command, "-O1", str(SWEEP), "-o", str(folder / "one_sweep"), *link], check=True)
    return folders


def printed(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_jetsons_processor_makes_the_same_bytes(built):
    here = printed(built[False] / "one_sweep")
    there = printed(EMULATOR, "-L", "/usr/aarch64-linux-gnu", built[True] / "one_sweep")
    assert here.count("mode") == 3 and here.count("checksums") == 1
    assert here == there


def test_no_multiply_and_add_is_fused_on_the_jetsons_processor(built):
    text = printed("aarch64-linux-gnu-objdump", "-d", built[True] / "libsonosweep_kernels.so")
    assert "fdiv" in text, "the listing shows no float arithmetic: nothing is proved"
    assert not FUSED.findall(text)
