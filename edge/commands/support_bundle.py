"""``sonosweep support-bundle``: what whoever is asked for help needs to know, without patient data."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from edge.commands.options import add_config, add_json
from edge.commands.outputs import check_outputs
from edge.config import layers, read_layers
from edge.console import result
from edge.files import CannotWrite
from edge.support import write_bundle

SUMMARY = "one zip file for whoever is asked for help: configuration, status, logs, hashes; no patient data"
EXAMPLES = """  sonosweep support-bundle -o device.zip
  sonosweep support-bundle -o device.zip --config edge.toml --run-dir run   # of services that run on a desk
  sonosweep support-bundle -o /media/usb/device.zip --no-hashes    # quicker: recordings are not read"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it goes."""
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.zip", help="the file to write")
    parser.add_argument("--no-hashes", action="store_true", help="do not read the recordings for their SHA-256")
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Write it and say what is in it."""
    if options.out.suffix != ".zip":
        raise CannotWrite(f"{options.out}: the bundle is a .zip file")
    check_outputs([options.out])
    layered = read_layers(layers(options.config))
    if options.run_dir:
        layered = msgspec.structs.replace(layered, config=msgspec.structs.replace(layered.config, run_dir=options.run_dir))
    names = write_bundle(options.out, layered, hashes=not options.no_hashes)
    size = options.out.stat().st_size
    text = f"{options.out}: {size / 1024:.0f} KiB with {', '.join(names)}; look through it before it leaves the house"
    result({"file": str(options.out), "bytes": size, "holds": names}, as_json=options.json, text=text)
    return 0
