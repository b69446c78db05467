"""``sonosweep export streaming``: what a step with carried state saves against the published window, measured here."""

from __future__ import annotations

import argparse

from edge.commands.options import add_json
from edge.console import result, table
from export.networks.streaming import measure_streaming

SUMMARY = "measure MoGLo-Net's streaming step beside its published window of five frames: FLOPs and time"
EXAMPLES = """  sonosweep export streaming
  sonosweep export streaming --width 0.25 --size 192 --runs 50 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How large, how often."""
    parser.add_argument("--width", type=float, default=1.0, metavar="SHARE", help="of the published channels (%(default)s)")
    parser.add_argument("--size", type=int, default=256, metavar="PIXELS", help="of the image's side (%(default)s)")
    parser.add_argument("--runs", type=int, default=9, metavar="N", help="of each, in turn; medians are told (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of ONNX Runtime, 0 = all cores (%(default)s)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, tell."""
    found = measure_streaming(options.width, options.size, options.runs, options.threads)
    rows = [
        {"form": "window of five frames", "GFLOP": found.window_gflop, "ms": found.window_ms},
        {"form": "streaming step", "GFLOP": found.step_gflop, "ms": found.step_ms},
        {"form": "ratio", "GFLOP": found.flop_ratio, "ms": found.time_ratio},
    ]
    said = f"medians of {found.runs} runs of each in turn; both answers differ by {found.largest_difference:.1g}"
    result(found._asdict(), as_json=options.json, text=f"{table(rows, list(rows[0]))}\n\n{said}")
    return 0
