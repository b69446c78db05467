"""Everything that wants a GPU, one after the other, with what came of it: ``make gpu-check``. It needs no internet once pip has its wheels.

    python bench/gpu_check.py [--results FOLDER]

Writes gpu-NAME-DATE.json (every step with its output's end, every benchmark record) and the same as a table for people, .md.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import NamedTuple

from edge import gpu
from edge.console import say, table
from edge.motion.bundle import shipped_bundles

ROOT = Path(__file__).parents[1]
TOLD = 2000  # characters of a step's output that are kept
KERNEL_TESTS = ("tests/edge/compounding/test_cuda_equals_host.py", "tests/edge/compounding/test_whole_step.py")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
SONOSWEEP = (sys.executable, "-m", "edge")


class Step(NamedTuple):
    """``needs``: a program without which it is left out."""

    name: str
    command: tuple[str, ...]
    needs: str = ""


def steps(records: Path, cuda: int) -> list[Step]:
    """What is run, in this order, on a driver of version ``cuda`` (12060). A step that fails does not end the rest."""
    pytest = (sys.executable, "-m", "pytest", "-q", "-m", "gpu")
    engines = [
        Step(f"engine of {name}, proved, INT8 and FP16 timed", (*SONOSWEEP, "export", "engine", name, "--json"))
        for name, path in shipped_bundles().items()
    ]
    return [
        Step("pycuda built for this machine", (sys.executable, "tests/fake_cuda/prepare.py")),
        Step("cuda-bindings installed, for CUDA graphs", (*PIP, "install", f"cuda-bindings=={cuda // 1000}.*")),
        Step("CUDA backend makes the host's bytes", (*pytest, "tests/edge")),
        Step(
            "compute-sanitizer finds nothing in the kernels",
            ("compute-sanitizer", "--error-exitcode", "9", *pytest, *KERNEL_TESTS),
            needs="compute-sanitizer",
        ),
        *engines,
        Step("the volume of the whole step is the host's", (*SONOSWEEP, "bench", "--quick", "--backend", "cuda", "--only", "step")),
        Step("benchmarks", (*SONOSWEEP, "bench", "--backend", "cuda", "-o", str(records), "--json")),
    ]


def run(step: Step) -> dict[str, object]:
    """What came of a step."""
    if step.needs and shutil.which(step.needs) is None:
        return {"step": step.name, "result": f"left out: {step.needs} is not installed", "seconds": 0.0, "output": ""}
    begun = time.monotonic()
    done = subprocess.run(step.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    result = "passed" if done.returncode == 0 else f"failed ({done.returncode})"
    return {"step": step.name, "result": result, "seconds": round(time.monotonic() - begun, 1), "output": done.stdout[-TOLD:]}


def sheet(answer: dict[str, object], records: list[dict[str, object]]) -> str:
    """The same for people."""
    rows = [f"| {one['step']} | {one['result']} | {one['seconds']} |" for one in answer["steps"]]  # type: ignore[attr-defined]
    measured = [
        {
            key: record.get(key)
            for key in ("stage", "spacing_mm", "network", "frames_per_s", "p50_ms", "p99_ms", "copy_gb_per_s", "bandwidth_share")
        }
        for record in records
        if record.get("backend") in ("cuda", "trt") or str(record.get("stage", "")).startswith("live")
    ]
    head = f"# {answer['gpu']}, {answer['date']}\n\ndriver {answer['driver']}, CUDA {answer['cuda']}, {answer['sm']}"
    lines = "\n".join(["| step | result | seconds |", "| --- | --- | --- |", *rows])
    return f"{head}\n\n{lines}\n\n```\n{table(measured, list(measured[0])) if measured else 'nothing was measured'}\n```\n"


def main() -> int:
    """0 where every step passed or was left out; 1 where one failed; 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results", help="folder for both files")
    options = parser.parse_args()
    try:
        device = gpu.probe()
    except gpu.NoDevice as wrong:
        say(f"nothing to check: {wrong}")
        return 2
    stem = f"gpu-{re.sub(r'[^a-z0-9]+', '-', device.name.lower()).strip('-')}-{date.today().isoformat()}"
    records = options.results / f"{stem}-records.json"
    found = []
    for step in steps(records, device.cuda):
        say(step.name)
        found.append(run(step))
        say(f"    {found[-1]['result']}, {found[-1]['seconds']} s")
    measured = json.loads(records.read_text()) if records.exists() else []
    records.unlink(missing_ok=True)
    answer = {
        "date": date.today().isoformat(),
        "gpu": device.name,
        "sm": f"{device.architecture}, {device.sm_count} multiprocessors",
        "driver": device.driver,
        "cuda": device.cuda,
        "steps": found,
        "records": measured,
    }
    (options.results / f"{stem}.json").write_text(json.dumps(answer, indent=1) + "\n")
    (options.results / f"{stem}.md").write_text(sheet(answer, measured))
    say(f"wrote {options.results / stem}.json and .md")
    return int(any(str(one["result"]).startswith("failed") for one in found))


if __name__ == "__main__":
    sys.exit(main())
