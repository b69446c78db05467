"""``sonosweep top``: the services of a device, again and again."""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import zmq

from edge.commands.options import add_config, read_config
from edge.console import screen
from edge.overview import Overview
from edge.processes import ended_by_sigterm

SUMMARY = "a live table of all services until Ctrl-C: rates, latencies, faults, heat, memory"
EXAMPLES = """  sonosweep top
  sonosweep top --every 5              # into a file or a pipe: one table after the other
  sonosweep top --run-dir run --times 10"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the device runs, and how often to look."""
    add_config(parser)
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between two tables (%(default)s)")
    parser.add_argument("--times", type=int, default=0, metavar="N", help="end after so many tables; 0 = at Ctrl-C (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Always 0: Ctrl-C is how it ends."""
    with zmq.Context() as context, ended_by_sigterm():
        overview = Overview(context, Path(read_config(options).run_dir))
        try:
            for _ in range(options.times) if options.times else itertools.count():
                overview.hear(max(options.every, 0.1))
                screen(f"{time.strftime('%H:%M:%S')}  {overview.run_dir}\n{overview.text()}")
        except KeyboardInterrupt:
            pass
        finally:
            overview.close()
    return 0
