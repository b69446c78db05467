"""``sonosweep export parity``: every variant of a bundle beside FP32 on tracked sweeps."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.commands.options import add_json
from edge.console import result, table
from edge.motion.bundle import find_bundle, open_bundle
from edge.motion.source import MotionUnavailable
from export.pack import REFERENCE
from export.parity import compared, named, shown, summary

SUMMARY = "compare every variant of a bundle with FP32 on tracked sweeps, in mm, degrees and points of drift"
EXAMPLES = """  sonosweep export parity small-int8.zip tracked.igs.mha
  sonosweep export parity small-int8.zip held_out/*.igs.mha --variant int8 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle and sweeps in, distances out."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a path, or the name of a bundle that comes with the package")
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP", help="tracked sweeps, best ones that nothing was fitted to")
    parser.add_argument("--variant", nargs="+", default=[], metavar="NAME", help="of these only (all)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Compare, tell."""
    bundle = open_bundle(find_bundle(options.bundle))
    there = [name for name in bundle.card.graphs if name != REFERENCE]
    chosen = options.variant or there
    lacking = [name for name in chosen if name not in there]
    if lacking or not chosen:
        has = ", ".join(bundle.card.graphs)
        raise MotionUnavailable(f"{bundle.path} has {has}; `sonosweep export quantize` adds INT8 and FP16 variants")
    rows = compared(bundle.card, {name: bundle.graph(name) for name in (REFERENCE, *chosen)}, options.sweeps)
    means = {name: summary(rows, name, named(options.sweeps)) for name in chosen}
    answer = {"bundle": str(bundle.path), "rows": [row._asdict() for row in rows], "mean": means}
    each = table([row._asdict() for row in rows], list(rows[0]._asdict()))
    mean = [shown(one, name) for name, one in means.items()]
    result(answer, as_json=options.json, text=f"{each}\n\nmean of {len(options.sweeps)} sweeps\n{table(mean, list(mean[0]))}")
    return 0
