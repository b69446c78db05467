"""``sonosweep keys``: key pairs for an encrypted link between front end and bridge."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.commands.options import add_json
from edge.console import result
from firmware_bridge.keys import make_keys

SUMMARY = "make a key pair for the encrypted link between probe and bridge"
EXAMPLES = """  sonosweep keys bridge -o /etc/sonosweep/keys      # on the device: server_key = ".../bridge.key_secret"
  sonosweep keys probe7 -o keys                     # for a front end; copy probe7.key into the bridge's allowed_keys folder"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The name of the pair and where it goes."""
    parser.add_argument("name", help="name of the files, such as bridge or probe7")
    parser.add_argument("-o", "--out", type=Path, default=Path("."), metavar="DIR", help="folder for the two files (%(default)s)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Write the two files and name them."""
    public, secret = make_keys(options.name, options.out)
    text = f"{public}          public: copy it to the other side\n{secret}   secret: stays here, readable by its owner only"
    result({"public": str(public), "secret": str(secret)}, as_json=options.json, text=text)
    return 0
