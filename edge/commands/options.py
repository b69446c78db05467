"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from edge.config import Config, load


def add_config(parser: argparse.ArgumentParser) -> None:
    """--config and --run-dir, for services."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default /etc/sonosweep/edge.toml, where it exists)")
    parser.add_argument("--run-dir", metavar="DIR", help="folder of the services' sockets, instead of the configured one")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json, for commands that answer."""
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout; talk goes to stderr")


def read_config(options: argparse.Namespace) -> Config:
    """The configuration with the options of :func:`add_config` laid over it."""
    config = load(options.config)
    return msgspec.structs.replace(config, run_dir=options.run_dir) if options.run_dir else config
