"""``sonosweep bench``: what this machine does in how much time, beside what it is compared with."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import msgspec

from edge.benchmark.machine import file_stem
from edge.benchmark.quoted import quoted
from edge.benchmark.records import COLUMNS, Plan, Record
from edge.benchmark.stages import STAGES, chosen
from edge.commands.options import MODEL_HELP, add_json
from edge.console import result, say, table

SUMMARY = "measure this machine: ms and frames/s per stage, losses of the live path, error against a known truth"
EXAMPLES = """  sonosweep bench                                        # everything, some minutes
  sonosweep bench --quick                                # everything, under a minute, less exact
  sonosweep bench --only compounding --threads 1,2 --json
  sonosweep bench --only live --only flood --spacing-mm 0.25
  sonosweep bench -o bench/results                       # the table here, all records into a file named after the processor"""
QUICK = {"quick": True, "seconds": 0.3, "least_runs": 2, "live_seconds": 2.0, "truth_frames": 30}
RATES = ("frames_per_s", "p50_ms", "p99_ms")
TABLES = (
    (
        "Frames into voxels (fastest of several runs; share: of the measured copy bandwidth)",
        "compounding",
        (*COLUMNS, "voxels_per_s", "bandwidth_share", "copy_gb_per_s", "times_plus_linear_quoted", "times_plus_nearest_quoted"),
    ),
    ("Everything else that a frame or a volume goes through", "stage", (*COLUMNS, "times_fp32", "max_ms", "mb_per_s", "voxels_per_s")),
    (
        "The whole device, from the probe's send to the bricks at a subscriber",
        "live",
        ("stage", "spacing_mm", *RATES, "max_ms", "sent", "placed", "lost", "unaccounted", "recorded", "faults"),
    ),
    (
        "Error against the known truth in grey levels (all: empty voxels count as black; common: voxels that every volume holds).\n"
        "Pasting is a numpy reference here: its frames/s say nothing about PLUS, whose own figures are quoted above.",
        "accuracy",
        ("backend", "spacing_mm", "step_mm", "mae", "rms", "mae_all", "rms_all", "mae_common", "share_covered", "frames_per_s"),
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure, and how long."""
    plan = Plan()
    parser.add_argument("--quick", action="store_true", help="smaller inputs and fewer repetitions: under a minute")
    parser.add_argument("--only", action="append", default=[], metavar="STAGE", help=f"one stage (again for more): {', '.join(STAGES)}")
    parser.add_argument("--backend", choices=("auto", "host", "cuda"), default=plan.backend)
    parser.add_argument("--threads", type=_threads, default=plan.threads, metavar="N,...", help="of the host backend, 0 = all (1,0)")
    parser.add_argument("--spacing-mm", type=float, action="append", metavar="MM", help="voxel size (again for more; 0.5 and 0.25)")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"spent on each measurement's repetitions ({plan.seconds:g})")
    parser.add_argument("--model", default="", metavar="BUNDLE", help=f"for the stage network: {MODEL_HELP}")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="all records as JSON; a folder: named after the processor")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure what was asked for, stage after stage."""
    given: dict[str, Any] = {"backend": options.backend, "threads": options.threads, "model": options.model}
    if options.spacing_mm:
        given["spacings_mm"] = tuple(options.spacing_mm)
    if options.seconds:
        given["seconds"] = options.seconds
    records = measure(Plan(**{**(QUICK if options.quick else {}), **given}), chosen(options.only))
    if options.output:
        _write(options.output, records)
    result(records, as_json=options.json, text=_text(records))
    return 0


def _write(path: Path, records: list[Record]) -> None:
    file = path / f"{file_stem()}.json" if path.is_dir() else path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(records), indent=1) + b"\n")
    say(f"wrote {file}")


def measure(plan: Plan, stages: list[str]) -> list[Record]:
    """The records of ``stages``, with those of PLUS beside ours where compounding is measured."""
    records: list[Record] = []
    for name in stages:
        begun = time.monotonic()
        say(f"{name}: {STAGES[name].summary}")
        for found in STAGES[name].measure(plan):
            say(f"    {_line(found)}")
            records.append(found)
        say(f"    {time.monotonic() - begun:.1f} s")
        if name == "compounding":
            records += quoted()
    return records


def _threads(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(word) for word in text.split(","))
    except ValueError:
        counts = (-1,)
    if min(counts) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of thread counts; write 1,2 or 0 for all")
    return counts


def _line(found: Record) -> str:
    values = ", ".join(f"{key} {value:.4g}" for key, value in found.items() if isinstance(value, float))
    return f"{found['stage']} [{found['backend']}]: {values}"


def _text(records: list[Record]) -> str:
    parts = []
    for record in records:
        if record["stage"] == "machine":
            parts = [f"{record['cpu']}, {record['cores']} cores, {record['architecture']}, load {record['load']:.2f}"]
    for title, kind, columns in TABLES:
        rows = [record for record in records if _kind(record) == kind]
        used = [column for column in columns if any(row.get(column) is not None for row in rows)]
        if rows:
            parts.append(f"{title}\n{table([{c: '' if row.get(c) is None else row[c] for c in used} for row in rows], used)}")
    parts += [f"(quoted): not measured here: {text}" for text in {record["quoted"] for record in records if "quoted" in record}]
    return "\n\n".join(parts)


def _kind(record: Record) -> str:
    if "mae" in record:
        return "accuracy"
    if "sent" in record:
        return "live"
    return "compounding" if record["stage"].startswith(("compounding", "machine")) else "stage"
