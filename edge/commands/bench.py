"""``sonosweep bench``: what this machine does in how much time, beside what it is compared with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from edge.benchmark.quoted import quoted
from edge.benchmark.records import COLUMNS, Plan, Record
from edge.benchmark.stages import STAGES, chosen
from edge.commands.options import add_json
from edge.console import result, say, table

SUMMARY = "measure this machine: ms and frames/s per stage, losses of the live path, error against a known truth"
EXAMPLES = """  sonosweep bench                                        # everything, some minutes
  sonosweep bench --quick                                # everything, under a minute, less exact
  sonosweep bench --only compounding --threads 1,2 --json
  sonosweep bench --only live --only flood --spacing-mm 0.25
  sonosweep bench -o figures.json                        # the table here, all records into a file"""
QUICK = {"quick": True, "frames": 40, "seconds": 0.4, "live_seconds": 3.0, "truth_frames": 40}
ERRORS = ("stage", "backend", "spacing_mm", "step_mm", "mae", "rms", "mae_all", "mae_common", "share_covered")
NOTES = ("voxels_per_s", "bandwidth_share", "times_plus_linear_quoted", "times_plus_nearest_quoted", "mb_per_s", "copy_gb_per_s")
COUNTS = ("max_ms", "sent", "placed", "lost", "recorded")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure, and how long."""
    plan = Plan()
    parser.add_argument("--quick", action="store_true", help="smaller inputs and fewer repetitions: under a minute")
    parser.add_argument("--only", action="append", default=[], metavar="STAGE", help=f"one stage (again for more): {', '.join(STAGES)}")
    parser.add_argument("--backend", choices=("auto", "host", "cuda"), default=plan.backend)
    parser.add_argument("--threads", type=_threads, default=plan.threads, metavar="N,...", help="of the host backend, 0 = all (1,0)")
    parser.add_argument("--spacing-mm", type=float, action="append", metavar="MM", help="voxel size (again for more; 0.5 and 0.25)")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"spent on each measurement's repetitions ({plan.seconds:g})")
    parser.add_argument("--model", default="", metavar="BUNDLE", help="model bundle (folder or .zip) for the stage network")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write all records as JSON")
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
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(records), indent=1) + b"\n")
    result(records, as_json=options.json, text=_text(records))
    return 0


def measure(plan: Plan, stages: list[str]) -> list[Record]:
    """The records of ``stages``, with those of PLUS beside ours where compounding is measured."""
    records: list[Record] = []
    for name in stages:
        say(f"{name}: {STAGES[name].summary}")
        for found in STAGES[name].measure(plan):
            say(f"    {_line(found)}")
            records.append(found)
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
    errors = [r for r in records if "mae" in r]
    times = [r for r in records if "mae" not in r]
    first = next((r for r in records if r["stage"] == "machine"), None)
    if first:
        parts.append(f"{first['cpu']}, {first['cores']} cores, {first['architecture']}, load {first['load']:.2f}")
    for rows, columns in ((times, (*COLUMNS, *NOTES, *COUNTS)), (errors, ERRORS)):
        used = [column for column in columns if any(row.get(column) is not None for row in rows)]
        if rows:
            parts.append(table([{c: "" if row.get(c) is None else row[c] for c in used} for row in rows], used))
    if any("quoted" in r for r in records):
        parts.append(f"(quoted): not measured here, but {next(r['quoted'] for r in records if 'quoted' in r)}")
    return "\n\n".join(parts)
