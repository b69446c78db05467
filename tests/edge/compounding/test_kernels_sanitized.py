"""The kernels and their driver under AddressSanitizer and UndefinedBehaviorSanitizer, as text that also runs on the device."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WORKLOAD = Path(__file__).with_name("sanitized_workload.py")
FLAGS = ["-O1", "-g1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


@pytest.fixture(scope="module")
def build():
    """setup.py's functions, without running its setup()."""
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    return runpy.run_path(str(ROOT / "setup.py"), run_name="setup_for_tests")


@pytest.fixture(scope="module")
def sanitized(build, tmp_path_factory):
    """The library with both sanitizers, and the environment that a Python without them needs to load it."""
    runtime = subprocess.run([*build["compiler"](), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    if not Path(runtime.stdout.strip()).is_absolute():
        pytest.skip("the compiler has no libasan.so")
    library = tmp_path_factory.mktemp("sanitized") / "libsonosweep_kernels.so"
    build["build_library"](library, FLAGS)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    quiet = {"ASAN_OPTIONS": "detect_leaks=0", "PYTHONPATH": path, "PYTHONMALLOC": "malloc"}
    return library, {**os.environ, "LD_PRELOAD": runtime.stdout.strip(), **quiet}


def run(sanitized, *arguments):
    library, environment = sanitized
    command = [sys.executable, str(WORKLOAD), str(library), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_short_life_of_every_build_touches_no_foreign_memory_and_has_no_undefined_arithmetic(sanitized):
    done = run(sanitized)
    assert done.returncode == 0, done.stderr[-4000:]


def test_the_sanitizers_see_a_read_beyond_the_image(sanitized):
    done = run(sanitized, "mistake")
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
    assert "pair_image" in done.stderr or "pair_rows" in done.stderr


def test_a_machine_without_a_compiler_is_told_which_package_to_install(build, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SystemExit, match="sudo apt install"):
        build["compiler"]()


def test_the_compiler_named_in_cxx_is_taken(build, monkeypatch):
    monkeypatch.setenv("CXX", f"{sys.executable} -c pass")
    assert build["compiler"]() == [sys.executable, "-c", "pass"]
