"""The service of the first boot: it builds nothing where there is nothing to build, and says why."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.config import MotionConfig
from export.commands import firstboot
from export.engine import first


@pytest.mark.parametrize(
    ("motion", "reason"),
    [
        (MotionConfig(), ""),
        (MotionConfig(backend="trt", variant="fp16"), ""),
        (MotionConfig(source="recorded"), "motion.source is recorded"),
        (MotionConfig(backend="ort"), "motion.backend is ort"),
        (MotionConfig(variant="fp32"), "motion.variant fp32"),
    ],
)
def test_only_a_network_that_tensorrt_may_run_needs_an_engine(motion, reason):
    assert first.needless(motion).startswith(reason) and bool(first.needless(motion)) == bool(reason)


def test_where_tensorrt_is_not_it_says_so_and_ends_well(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(firstboot.gpu, "missing", lambda: "no driver")
    (tmp_path / "edge.toml").write_text("")
    assert firstboot.run(argparse.Namespace(config=tmp_path / "edge.toml", run_dir=None)) == 0
    assert "no engine to build: no driver" in capsys.readouterr().err


def test_how_far_the_build_is_stands_in_systemds_status_and_in_the_file_for_the_page(monkeypatch, tmp_path):
    said, path = [], tmp_path / "engine-build"
    monkeypatch.setattr(first, "notify", said.append)
    monkeypatch.setattr(first, "TELL_EVERY_S", -1.0)
    telling = first.Telling(path, "small")
    assert path.read_text() == "small\n"
    for step, line in enumerate(telling.shown("fp16")(["a", "b"]), 1):
        assert line == "ab"[step - 1] and path.read_text() == f"small fp16, step {step}\n"
    assert said == [f"STATUS=building the engine of small{how}" for how in ("", " fp16, step 1", " fp16, step 2")]


def test_a_build_takes_the_time_that_the_services_leave_but_the_look_before_it_does_not():
    """Else a device with nothing to build waits for the least of its processes before it can place an image."""
    script = "import os; from export.engine import first; now = os.sched_getscheduler; print(now(0)); first._give_way(); print(now(0))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(os.SCHED_OTHER), str(os.SCHED_IDLE)]
    unit = (Path(__file__).parents[2] / "systemd/sonosweep-firstboot.service").read_text()
    assert "Nice=" not in unit and "CPUSchedulingPolicy" not in unit


def test_to_find_that_there_is_no_gpu_loads_no_numpy_and_no_network():
    """The reconstructor waits for it; on an emulated processor numpy alone takes seconds."""
    script = "import sys; from export.commands import firstboot; print(sorted({'numpy', 'edge.motion', 'edge.files'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
