"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from edge.config import Config, load

MODEL_HELP = "for --motion network: small or another bundle that comes with the package, or a path (folder or .zip); default small"
PRESET_HELP = "from `sonosweep calibrate`: for --motion constant, decorrelation, or network (its probe's normalisation)"


def add_config(parser: argparse.ArgumentParser) -> None:
    """--config and --run-dir, for services."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default /etc/sonosweep/edge.toml, where it exists)")
    parser.add_argument("--run-dir", metavar="DIR", help="folder of the services' sockets, instead of the configured one")


def numbers(text: str) -> tuple[float, ...]:
    """``750,850`` as numbers, for argparse."""
    return tuple(float(one) for one in text.split(","))


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json, for commands that answer."""
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout; talk goes to stderr")


def read_config(options: argparse.Namespace) -> Config:
    """The configuration with the options of :func:`add_config` laid over it."""
    config = load(options.config)
    return msgspec.structs.replace(config, run_dir=options.run_dir) if options.run_dir else config


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """--plus-config or --probe: where ImageToProbe comes from, for sweeps with tracker transforms only."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--plus-config", type=Path, metavar="XML", help="PLUS configuration with the ImageToProbe calibration")
    either.add_argument(
        "--probe", type=Path, metavar="PROBE.json", help="probe file of `sonosweep calibrate spatial`: ImageToProbe and lag"
    )
