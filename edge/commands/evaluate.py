"""``sonosweep evaluate``: estimated motion against tracked motion, by the field's own measures, beside the baselines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

import msgspec

from edge.commands.options import add_json
from edge.config import Direction
from edge.console import progress, result, table
from edge.errors import SonosweepError
from edge.evaluation.baselines import constant, constant_steps, decorrelation_curve, listen, still
from edge.evaluation.report import mean_report, report
from edge.evaluation.volumes import SPACING_MM
from edge.evaluation.watch import watch
from edge.files.atomic import make_folder, replacing
from edge.motion import MotionSource, MotionUnavailable
from edge.motion.constant import read_preset
from edge.motion.decorrelation import DecorrelationMotion, read_curve
from edge.motion.network import open_network

SUMMARY = "measure estimated motion on tracked sweeps, beside the baselines that need no network"
EXAMPLES = """  sonosweep evaluate tracked/*.igs.mha --model small.zip
  sonosweep evaluate test.igs.mha --model small.zip --adaptation piece1.igs.mha piece2.igs.mha --json
  sonosweep evaluate test.igs.mha --motion constant --preset preset.json -o evaluation/"""
BASELINES = ("constant", "decorrelation")
COLUMNS = {
    "final_drift_rate_percent": "FDR %",
    "piece_drift_rate_percent": "pieces %",
    "final_drift_mm": "drift mm",
    "lpe_mm": "LPE mm",
    "gpe_mm": "GPE mm",
    "hausdorff_mm": "Hausdorff mm",
    "volume_ncc": "volume NCC",
}


class MeasuredOnItself(SonosweepError):
    """A sweep is in both lists: the one that is measured and the one that the baselines are fitted to."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sweeps in, measures out."""
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP", help="tracked sweep; NAME.landmarks.csv beside it adds GLE, LLE")
    parser.add_argument("--model", type=Path, metavar="BUNDLE", help="model bundle (folder or .zip) for --motion network")
    parser.add_argument(
        "--motion", choices=("network", "constant", "decorrelation"), default="network", help="what is measured (%(default)s)"
    )
    parser.add_argument("--preset", type=Path, metavar="JSON", help="constant motion to compare with, from `sonosweep calibrate constant`")
    parser.add_argument("--curve", type=Path, metavar="JSON", help="speckle's decorrelation, from `sonosweep calibrate decorrelation`")
    parser.add_argument(
        "--adaptation", nargs="+", type=Path, default=[], metavar="SWEEP", help="or: tracked sweeps that both are made from"
    )
    parser.add_argument("--direction", choices=get_args(Direction)[:2], default="", help="of every sweep; default: as its poses go")
    parser.add_argument("--spacing-mm", type=float, default=SPACING_MM, help="voxels of the compared volumes (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="also write evaluation.json there")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Watch, compare, tell."""
    sources: dict[str, MotionSource] = {}
    if options.motion == "network":
        if options.model is None:
            raise MotionUnavailable("a network is measured from its bundle: give --model BUNDLE, or --motion constant for the baselines")
        network = open_network(options.model)
        sources[network.name] = network
    for path in options.adaptation:
        if path.resolve() in {sweep.resolve() for sweep in options.sweeps}:
            raise MeasuredOnItself(
                f"{path} is measured and adapted to; a sweep says nothing about what was fitted to it: leave it out of one"
            )
    preset = read_preset(options.preset) if options.preset else None
    adaptation = [listen(path) for path in progress(options.adaptation, total=len(options.adaptation), label="adapting")]
    curve, curve_from = decorrelation_curve(read_curve(options.curve) if options.curve else None, adaptation)
    sources["decorrelation"] = DecorrelationMotion(curve)
    watched = [watch(path, sources) for path in progress(options.sweeps, total=len(options.sweeps), label="watching")]
    steps, constant_from = constant_steps(watched, preset, [sweep for sweep, _ in adaptation])
    reports = []
    for sweep, step in zip(progress(watched, total=len(watched), label="measuring"), steps, strict=True):
        baselines = {"none": still(sweep), "constant": constant(sweep, step), "decorrelation": sweep.estimates["decorrelation"]}
        name = next(iter(sources)) if options.motion == "network" else options.motion
        estimate = sweep.estimates[name] if name in sweep.estimates else baselines[name]
        reports.append(report(sweep, name, estimate, baselines, options.direction, options.spacing_mm))
    answer = {
        "motion": reports[0]["motion"],
        "constant_from": constant_from,
        "decorrelation_from": curve_from,
        "sweeps": reports,
        "mean": mean_report(reports),
    }
    if options.output:
        make_folder(options.output)
        with replacing(options.output / "evaluation.json") as out:
            out.write(msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n")
    result(answer, as_json=options.json, text=_text(answer))
    return 0


def _text(answer: dict[str, Any]) -> str:
    parts = []
    for one in answer["sweeps"]:
        head = f"{one['sweep']}: {one['frames']} frames, {one['path_mm']:.0f} mm, direction {one['direction']} ({one['direction_source']})"
        parts += [head + (f"; {one['ended']}" if one["ended"] else ""), _table(one, answer["motion"]), ""]
    if len(answer["sweeps"]) > 1:
        parts += [f"mean of {len(answer['sweeps'])} sweeps", _table(answer["mean"], answer["motion"]), ""]
    return "\n".join([*parts, f"constant motion: {answer['constant_from']}; decorrelation: {answer['decorrelation_from']}"])


def _table(one: dict[str, Any], name: str) -> str:
    rows = []
    for motion, values in {name: one, **one["baselines"]}.items():
        row: dict[str, Any] = {"motion": motion} | {title: _shown(values[key]) for key, title in COLUMNS.items()}
        rows.append(row | {f"r {axis}": _shown(r) for axis, r in values["correlation"].items()})
    return table(rows, list(rows[0]))


def _shown(value: float | None) -> float | str:
    return "-" if value is None else round(value, 3)
