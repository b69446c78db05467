"""``sonosweep record``: the recording service."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import zmq

from edge.commands.options import add_config, read_config
from edge.console import say
from edge.daemon import serve, sole
from edge.record import RecordService

SUMMARY = "the service that keeps every sweep on disk, safe from power cuts"
EXAMPLES = """  sonosweep record                                    # as configured in /etc/sonosweep/edge.toml
  sonosweep record --run-dir run --folder recordings  # on a desk, beside `sonosweep bridge --run-dir run`"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the service: everything else is in the configuration file."""
    add_config(parser)
    parser.add_argument("--folder", metavar="DIR", help="where recordings are kept, instead of the configured folder")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM; interrupted recordings in the folder are recovered first."""
    config = read_config(options)
    if options.folder:
        config = msgspec.structs.replace(config, record=msgspec.structs.replace(config.record, folder=options.folder))
    with sole(Path(config.run_dir), "record"), zmq.Context() as context:
        service = RecordService(context, config)
        say(f"record: into {config.record.folder}, on the disk every {config.record.sync_ms} ms")
        try:
            serve(service.step, status=lambda: service.state)
        finally:
            service.close()
    return 0
