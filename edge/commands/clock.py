"""``sonosweep clock``: where the device's date comes from."""

from __future__ import annotations

import argparse
from pathlib import Path

import edge.clock as clock
from edge.commands.options import add_config, add_json, read_config
from edge.console import result

SUMMARY = "the device's date and where it comes from; exit status 1 where nobody has set it"
EXAMPLES = """  sonosweep clock
  sonosweep clock --json                 # now, trusted, source
  sonosweep clock obey                   # for sonosweep-clock.service: do what a tablet has asked for"""
WORDS = {"network": "set by the network", "": "set by nobody: dates may be wrong. A tablet can set it (settings, health)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the device runs, and how to answer."""
    parser.add_argument("word", nargs="?", choices=("show", "obey"), default="show", help="show (default); obey is for systemd")
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0 where somebody has set the clock."""
    if options.word == "obey":
        state = clock.obey(Path(read_config(options).run_dir))
        result(state, as_json=options.json, text=state.error or f"set by {state.source}")
        return 1 if state.error else 0
    told = clock.told()
    result(told, as_json=options.json, text=f"{told['now']}: {WORDS.get(told['source'], 'set by ' + told['source'])}")
    return 0 if told["source"] else 1
