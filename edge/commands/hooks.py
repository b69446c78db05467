"""``sonosweep hooks``: the service that tells a maker's programs what the device is doing."""

from __future__ import annotations

import argparse
from pathlib import Path

import zmq

from edge.commands.options import add_config, read_config
from edge.console import say
from edge.daemon import serve, sole
from edge.hooks import HOOKS, STATE, Hooks

SUMMARY = "the service that runs a maker's programs when the device's state changes (a light, a small screen)"
EXAMPLES = """  sonosweep hooks                                             # programs in /etc/sonosweep/state.d
  sonosweep hooks --run-dir run --hooks state.d --state state.json   # on a desk, beside services that run there"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the device runs, the programs, and the file with the state."""
    add_config(parser)
    parser.add_argument("--hooks", type=Path, default=HOOKS, metavar="DIR", help="programs, run in the order of their names (%(default)s)")
    parser.add_argument("--state", type=Path, default=STATE, metavar="FILE", help="the state as one line of JSON (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    run_dir = Path(read_config(options).run_dir)
    with sole(run_dir, "hooks"), zmq.Context() as context:
        service = Hooks(context, run_dir, options.hooks, options.state)
        say(f"hooks: programs of {options.hooks}; the state lies in {options.state}")
        try:
            serve(service.step, status=lambda: service.state.state)
        finally:
            service.close()
    return 0
