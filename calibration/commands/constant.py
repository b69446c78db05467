"""``sonosweep calibrate constant``: the mean motion of tracked sweeps, as a preset for ``--motion constant``."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import numpy as np

from calibration.constant import mean_motion
from calibration.tracked import read_tracked
from edge.atomic import replacing
from edge.commands.options import add_calibration, add_json
from edge.console import progress, result, table

SUMMARY = "the mean motion of tracked sweeps, as a preset for constant motion"
EXAMPLES = """  sonosweep calibrate constant tracked/*.igs.mha -o preset.json
  sonosweep calibrate constant a.igs.mha b.igs.mha -o preset.json --json"""
NAMES = ("tx", "ty", "tz", "rx", "ry", "rz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sweeps in, preset out."""
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP", help="sweep file of a tracked probe")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PRESET.json", help="where the preset is written")
    add_calibration(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Read, average, write, tell."""
    paths = progress(options.sweeps, total=len(options.sweeps), label="reading sweeps")
    sweeps = [read_tracked(path, options.plus_config, options.probe) for path in paths]
    preset = mean_motion(sweeps)
    with replacing(options.output) as out:
        out.write(msgspec.json.format(msgspec.json.encode(preset), indent=2) + b"\n")
    units = (1.0, 1.0, 1.0, *[180 / np.pi] * 3)
    rows = [
        {"": name, "unit": unit, "mean": mean * scale, "spread": spread * scale}
        for name, unit, mean, spread, scale in zip(NAMES, ("mm",) * 3 + ("degrees",) * 3, preset.motion, preset.spread, units, strict=True)
    ]
    text = f"{table(rows, ['', 'unit', 'mean', 'spread'])}\n\nper frame, from {preset.steps} steps of {len(sweeps)} sweeps, "
    text += f"{preset.frame_interval_s * 1e3:.0f} ms apart; written to {options.output}"
    answer = {"preset": str(options.output), **msgspec.to_builtins(preset)}
    result(answer, as_json=options.json, text=text)
    return 0
