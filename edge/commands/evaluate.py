"""``sonosweep evaluate``: estimated motion against tracked motion, by the field's own measures, beside the baselines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np

from edge.atomic import make_folder, replacing
from edge.commands.options import MODEL_HELP, add_calibration, add_json
from edge.commands.outputs import check_outputs
from edge.config import Direction, MotionConfig
from edge.console import progress, result, rounded, table
from edge.errors import SonosweepError
from edge.evaluation.baselines import constant, constant_steps, decorrelation_curve, listen, still
from edge.evaluation.coverage import normalised_errors
from edge.evaluation.plots import draw_sweep
from edge.evaluation.report import mean_report, report
from edge.evaluation.volumes import SPACING_MM
from edge.evaluation.watch import watch
from edge.motion import MotionSource
from edge.motion.bundle import find_bundle
from edge.motion.constant import read_preset
from edge.motion.decorrelation import DecorrelationMotion, read_curve
from edge.motion.network import NetworkMotion, open_network
from edge.motion.uncertainty import fit_memory

SUMMARY = "measure estimated motion on tracked sweeps, beside the baselines that need no network"
EXAMPLES = """  sonosweep evaluate tracked/*.igs.mha
  sonosweep evaluate test.igs.mha --model mine.zip --adaptation piece1.igs.mha piece2.igs.mha --json
  sonosweep evaluate test.igs.mha --motion constant --preset preset.json -o evaluation/"""
BASELINES = ("constant", "decorrelation")
COLUMNS = {
    "final_drift_rate_percent": "FDR %",
    "final_drift_rate_end_to_end_percent": "of ends %",
    "piece_drift_rate_percent": "pieces %",
    "average_drift_mm": "mean drift mm",
    "lpe_mm": "LPE mm",
    "gpe_mm": "GPE mm",
    "lle_mm": "LLE mm",
    "gle_mm": "GLE mm",
    "hausdorff_mm": "Hausdorff mm",
    "volume_ncc": "volume NCC",
}


class MeasuredOnItself(SonosweepError):
    """A sweep is in both lists: the one that is measured and the one that the baselines are fitted to."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sweeps in, measures out."""
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP", help="tracked sweep; NAME.landmarks.csv beside it adds GLE, LLE")
    parser.add_argument("--model", default=MotionConfig().model, metavar="BUNDLE", help=MODEL_HELP)
    parser.add_argument(
        "--motion", choices=("network", "constant", "decorrelation"), default="network", help="what is measured (%(default)s)"
    )
    parser.add_argument("--preset", type=Path, metavar="JSON", help="constant motion to compare with, from `sonosweep calibrate constant`")
    parser.add_argument("--curve", type=Path, metavar="JSON", help="speckle's decorrelation, from `sonosweep calibrate decorrelation`")
    parser.add_argument(
        "--adaptation", nargs="+", type=Path, default=[], metavar="SWEEP", help="or: tracked sweeps that both are made from"
    )
    add_calibration(parser)
    parser.add_argument("--direction", choices=get_args(Direction)[:2], default="", help="of every sweep; default: as its poses go")
    parser.add_argument("--spacing-mm", type=float, default=SPACING_MM, help="voxels of the compared volumes (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="also write evaluation.json and a picture per sweep")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Watch, compare, tell."""
    check_outputs([options.output / "evaluation.json"] if options.output else [])
    sources: dict[str, MotionSource] = {}
    network = _network(options)
    if network is not None:
        sources[network.name] = network
    _check_apart(options.sweeps, options.adaptation)
    preset = read_preset(options.preset) if options.preset else None
    adaptation = [
        listen(path, options.plus_config, options.probe)
        for path in progress(options.adaptation, total=len(options.adaptation), label="adapting")
    ]
    curve, curve_from = decorrelation_curve(read_curve(options.curve) if options.curve else None, adaptation)
    sources["decorrelation"] = DecorrelationMotion(curve)
    watched = [
        watch(path, sources, options.plus_config, options.probe)
        for path in progress(options.sweeps, total=len(options.sweeps), label="watching")
    ]
    steps, constant_from = constant_steps(watched, preset, [sweep for sweep, _ in adaptation])
    if options.output:
        make_folder(options.output)
    reports, errors = [], []
    for sweep, step in zip(progress(watched, total=len(watched), label="measuring"), steps, strict=True):
        baselines = {"none": still(sweep), "constant": constant(sweep, step), "decorrelation": sweep.estimates["decorrelation"]}
        name = network.name if network else options.motion
        estimate = (sweep.estimates | baselines)[name]
        memory = network.error_memory if network else None
        one = report(sweep, name, estimate, baselines, options.direction, options.spacing_mm, memory)
        turned = estimate.turned(one["direction"])
        errors.append(normalised_errors(sweep.true, turned))
        reports.append(one)
        if options.output:
            drawn = {other: baselines[other].turned(one["direction"]) for other in BASELINES if other != name}
            picture = options.output / f"{len(reports):02d}-{sweep.path.name.partition('.')[0]}.png"
            draw_sweep(picture, sweep, name, turned, drawn, _head(one))
    known = [one[np.isfinite(one).all(1)] for one in errors]
    answer = {
        "motion": reports[0]["motion"],
        "constant_from": constant_from,
        "decorrelation_from": curve_from,
        "error_memory": msgspec.to_builtins(fit_memory(known)) if sum(map(len, known)) else None,
        "sweeps": reports,
        "mean": mean_report(reports),
    }
    if options.output:
        with replacing(options.output / "evaluation.json") as out:
            out.write(msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n")
    result(answer, as_json=options.json, text=_text(answer))
    return 0


def _network(options: argparse.Namespace) -> NetworkMotion | None:
    if options.motion != "network":
        return None
    return open_network(find_bundle(options.model))


def _check_apart(sweeps: list[Path], adaptation: list[Path]) -> None:
    for path in {path.resolve() for path in sweeps} & {path.resolve() for path in adaptation}:
        raise MeasuredOnItself(f"{path} is measured and adapted to, and says nothing about what was fitted to it: leave it out of one")


def _head(one: dict[str, Any]) -> str:
    said = f"{one['sweep']}: {one['frames']} frames, {one['path_mm']:.0f} mm, direction {one['direction']} ({one['direction_source']})"
    return said + (f"; {one['ended']}" if one["ended"] else "")


def _text(answer: dict[str, Any]) -> str:
    parts = []
    for one in answer["sweeps"]:
        parts += [_head(one), _tables(one, answer["motion"]), *_covered(one), ""]
    if len(answer["sweeps"]) > 1:
        parts += [f"mean of {len(answer['sweeps'])} sweeps", _tables(answer["mean"], answer["motion"]), *_covered(answer["mean"]), ""]
    return "\n".join([*parts, f"constant motion: {answer['constant_from']}; decorrelation: {answer['decorrelation_from']}"])


def _covered(one: dict[str, Any]) -> list[str]:
    if not one["uncertainty"]:
        return []
    held = ", ".join(f"{share} %: {percent:.0f} %" for share, percent in one["uncertainty"]["step"].items())
    place = one["uncertainty"]["position"]
    far = "; of positions " + ", ".join(f"{share} %: {percent:.0f} %" for share, percent in place.items()) if place else ""
    return [f"errors of steps within the stated intervals of {held}{far}"]


def _tables(one: dict[str, Any], name: str) -> str:
    """How far from the truth, and the motion from frame to frame: its correlation and its mean absolute error (mm, degrees)."""
    far, steps = [], []
    for motion, values in {name: one, **one["baselines"]}.items():
        measured = {title: rounded(values[key], 3) for key, title in COLUMNS.items() if one[key] is not None}
        far.append({"motion": motion} | measured)
        together = {f"r {axis}": rounded(r, 3) for axis, r in values["correlation"].items()}
        steps.append({"motion": motion} | together | {f"|{axis}|": rounded(error, 3) for axis, error in values["relative_error"].items()})
    return "\n".join(table(rows, list(rows[0])) for rows in (far, steps))
