"""``sonosweep calibrate domain``: a network fitted to the probe at hand, from unlabelled scanning."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from calibration.domain import CannotFit, fit_domain, read_windows
from edge.atomic import replacing
from edge.commands.options import MODEL_HELP, add_json
from edge.commands.outputs import check_outputs
from edge.config import MotionConfig
from edge.console import progress, result, say
from edge.motion.bundle import find_bundle, open_bundle
from edge.motion.network import probe_path

SUMMARY = "fit a network to the probe at hand: its normalisation from a minute of unlabelled scanning, no poses needed"
EXAMPLES = """  sonosweep calibrate domain scan.mcap --model small.zip
  sonosweep calibrate domain a.igs.mha b.igs.mha --model small.zip -o small.probe.json --probe L14-5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sweeps in, the probe's file out."""
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP", help="any sweeps of the probe; their poses are not looked at")
    parser.add_argument("--model", default=MotionConfig().model, metavar="BUNDLE", help=MODEL_HELP)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PROBE.json",
        help="default: beside the bundle, where it is used from then on; elsewhere, give it as --preset",
    )
    parser.add_argument("--probe", default="this probe", metavar="NAME", help="what poses say of their source (%(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="0 keeps the statistics of training, 1 takes the probe's (%(default)s)")
    parser.add_argument(
        "--all-layers",
        action="store_true",
        help="also layers that see how the probe was moved: scan as you always will (small has no others)",
    )
    add_json(parser)


def _say_round(number: int, change: float) -> None:
    say(f"round {number}: the largest change is {100 * change:.2g} %")


def run(options: argparse.Namespace) -> int:
    """Read, fit, prove, write, tell."""
    bundle = open_bundle(find_bundle(options.model))
    beside = probe_path(bundle.path)
    output = options.output or beside
    check_outputs([output], options.sweeps)
    sweeps = []
    for path in progress(options.sweeps, total=len(options.sweeps), label="reading sweeps"):
        sweeps += read_windows(path, bundle.card)
    if not sweeps:
        raise CannotFit("the sweeps hold no two B-mode images in a row; give sweeps of the probe")
    fitted = fit_domain(bundle, sweeps, options.probe, share=options.share, all_layers=options.all_layers, told=_say_round)
    with replacing(output) as out:
        out.write(msgspec.json.format(msgspec.json.encode(fitted.probe), indent=2) + b"\n")
    answer = {
        "probe": str(output),
        "used_beside": str(beside),
        "bundle": bundle.identity,
        "layers": list(fitted.layers),
        "images": fitted.images,
        "rounds": len(fitted.changes),
        "changes": list(fitted.changes),
        "golden_moved": fitted.golden_moved,
    }
    text = f"{bundle.card.name} fitted to {options.probe} on {fitted.images} unlabelled images in {len(fitted.changes)} rounds "
    text += f"(layers {', '.join(fitted.layers)}); proved on the golden images, whose motion moves by {fitted.golden_moved:.3g} (scaled); "
    text += f"written to {output}"
    if output.resolve() != beside.resolve():
        text += f"\ngive it as --preset (motion.preset), or put it at {beside} for the bundle to use it"
    result(answer, as_json=options.json, text=text)
    return 0
