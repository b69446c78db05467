"""``make gpu-check``: what it runs exists, what fails is told, and without a GPU it says so."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("gpu_check", ROOT / "bench" / "gpu_check.py")
assert spec and spec.loader
gpu_check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gpu_check)
Step = gpu_check.Step


def test_its_steps_name_what_there_is(tmp_path):
    for step in gpu_check.steps(tmp_path / "records.json", 12060):
        for word in step.command:
            if word.startswith("tests/"):
                assert (ROOT / word).exists(), f"{step.name}: {word}"
    names = [step.name for step in gpu_check.steps(tmp_path / "records.json", 12060)]
    assert any("small-leg" in name for name in names) and len(set(names)) == len(names)
    commands = [" ".join(step.command) for step in gpu_check.steps(tmp_path / "records.json", 12060)]
    assert any(command.endswith("cuda-bindings==12.*") for command in commands), "of the driver's own major version"
    assert any("--only step" in command for command in commands)


def test_the_sheet_shows_the_whole_step():
    answer = {"gpu": "Orin", "date": "today", "driver": "540", "cuda": 12060, "sm": "sm_87", "steps": []}
    record = {"stage": "whole step, frame to bricks", "backend": "cuda", "network": "trt int8-fp16", "p50_ms": 3.21, "p99_ms": 4.5}
    assert all(word in gpu_check.sheet(answer, [record]) for word in ("whole step", "trt int8-fp16", "3.21"))


def test_each_step_tells_what_came_of_it():
    said = [
        gpu_check.run(step)["result"]
        for step in (
            Step("good", (sys.executable, "-c", "print('well')")),
            Step("bad", (sys.executable, "-c", "import sys; sys.exit(3)")),
            Step("absent", ("no-such-program",), needs="no-such-program"),
        )
    ]
    assert said == ["passed", "failed (3)", "left out: no-such-program is not installed"]


def test_both_files_are_written_and_a_failure_is_the_answer(tmp_path, monkeypatch):
    record = {"stage": "compounding, mean", "backend": "cuda", "spacing_mm": 0.5, "frames_per_s": 9000.0, "bandwidth_share": 0.7}
    write = f"import json, sys; open(sys.argv[1], 'w').write({json.dumps(json.dumps([record]))})"

    def steps(records, cuda):
        return [Step("measures", (sys.executable, "-c", write, str(records))), Step("fails", (sys.executable, "-c", "1/0"))]

    monkeypatch.setattr(gpu_check, "steps", steps)
    monkeypatch.setattr(gpu_check.gpu, "probe", lambda: gpu_check.gpu.Device("NVIDIA Test 9", "9.0", 132, 13000, "580.1"))
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--results", str(tmp_path)])
    assert gpu_check.main() == 1
    names = sorted(path.suffix for path in tmp_path.iterdir())
    assert names == [".json", ".md"]
    text = next(tmp_path.glob("gpu-nvidia-test-9-*.md")).read_text()
    assert "| fails | failed (1) |" in text and "9000" in text and "sm_90, 132" in text
    assert json.loads(next(tmp_path.glob("*.json")).read_text())["records"] == [record]


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        monkeypatch.setattr(sys, "argv", ["gpu_check"])
        assert gpu_check.main() == 2
        assert "nothing to check" in capsys.readouterr().err
    else:
        pytest.skip("this machine has a driver: make gpu-check runs everything")
