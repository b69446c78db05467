"""No thread of the kernels reads or writes what another one writes: ThreadSanitizer over a sweep of every mode, with a race as control."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SWEEP = Path(__file__).with_name("one_sweep.cpp")
FLAGS = ["-O1", "-g1", "-fsanitize=thread"]
FOUND = 66  # ThreadSanitizer's exit status
STILL = ("setarch", "-R")  # older runtimes do not find their way among randomised addresses of newer kernels


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Runs the sweep under ThreadSanitizer; skipped where the compiler has none or it does not run here."""
    folder = tmp_path_factory.mktemp("threads")
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup_for_tests")
    runtime = subprocess.run([*setup["compiler"](), "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True)
    if not Path(runtime.stdout.strip()).is_absolute():
        pytest.skip("the compiler has no libtsan.so")
    setup["build_library"](folder / setup["LIBRARY"], FLAGS)
    link = [f"-L{folder}", f"-l:{setup['LIBRARY']}", f"-Wl,-rpath,{folder}"]
    subprocess.run([*setup["compiler"](), *FLAGS, str(SWEEP), "-o", str(folder / "one_sweep"), *link], check=True)
    still = STILL if shutil.which(STILL[0]) else ()

    def sweep(*words: str) -> subprocess.CompletedProcess[str]:
        """It ends at the first race."""
        command = [*still, str(folder / "one_sweep"), *words]
        environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=170)
        if "unexpected memory mapping" in done.stderr:
            pytest.skip("ThreadSanitizer does not run on this kernel")
        return done

    return sweep


def test_threads_share_nothing_that_one_of_them_writes(swept):
    several, one = swept("4"), swept("1")
    assert several.returncode == 0, several.stderr[-4000:]
    assert several.stdout == one.stdout and several.stdout.count("images") == 3


def test_a_line_read_while_another_thread_writes_it_is_reported(swept):
    done = swept("4", "mistake")
    assert done.returncode == FOUND, done.stderr[-2000:]
    assert "data race" in done.stderr and "grey" in done.stderr
