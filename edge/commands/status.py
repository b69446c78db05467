"""``sonosweep status``: how all services of a device are."""

from __future__ import annotations

import argparse
from pathlib import Path

import zmq

from edge.commands.options import add_config, add_json, read_config
from edge.console import result
from edge.overview import Overview

SUMMARY = "how all services of the device are; exit status 1 where one is silent or a fault stands"
EXAMPLES = """  sonosweep status
  sonosweep status --json                # for scripts: .well, .wrong[].words
  sonosweep status --run-dir run         # of services that run on a desk: theirs, not /run/sonosweep
  sonosweep top                          # the same, live"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the device runs, and how to answer."""
    add_config(parser)
    parser.add_argument("--seconds", type=float, default=2.5, metavar="S", help="listen for so long at most (%(default)s)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0 where all is well."""
    with zmq.Context() as context:
        overview = Overview(context, Path(read_config(options).run_dir))
        try:
            overview.hear(options.seconds, until_known=True)
            told = overview.told()
            result(told, as_json=options.json, text=overview.text())
        finally:
            overview.close()
    return 0 if told["well"] else 1
