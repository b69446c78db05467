"""``sonosweep calibrate decorrelation``: how a probe's speckle changes with motion, for classical motion without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from edge.atomic import replacing
from edge.commands.options import add_calibration, add_json
from edge.commands.outputs import check_outputs
from edge.console import progress, result, table
from edge.evaluation.baselines import fitted_curve, listen
from edge.motion.decorrelation import BANDS_MM

SUMMARY = "how speckle changes with motion, from tracked sweeps, as a curve for --motion decorrelation"
EXAMPLES = """  sonosweep calibrate decorrelation tracked/*.igs.mha -o curve.json
  sonosweep calibrate decorrelation a.igs.mha b.igs.mha -o curve.json --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sweeps in, curve out."""
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP", help="sweep file of a tracked probe")
    add_calibration(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CURVE.json", help="where the curve is written")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Look, fit, write, tell."""
    check_outputs([options.output], options.sweeps)
    curve = fitted_curve(
        [
            listen(path, options.plus_config, options.probe)
            for path in progress(options.sweeps, total=len(options.sweeps), label="reading sweeps")
        ]
    )
    with replacing(options.output) as out:
        out.write(msgspec.json.format(msgspec.json.encode(curve), indent=2) + b"\n")
    rows = [
        {"depth mm": f"{low:g} to {high:g}", "peak": band.peak, "floor": band.floor, "width mm": band.width_mm}
        for low, high, band in zip(BANDS_MM, BANDS_MM[1:], curve.bands, strict=False)
    ]
    text = f"{table(rows, list(rows[0]))}\n\ncorrelation of speckle against elevational distance, from {curve.steps} steps of "
    text += f"{len(curve.sweeps)} sweeps; written to {options.output}"
    result({"curve": str(options.output), **msgspec.to_builtins(curve)}, as_json=options.json, text=text)
    return 0
