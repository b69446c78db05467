"""``sonosweep factory-reset``: the device as it left the factory."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from edge.belongings import Belongings
from edge.commands.options import add_config, add_json, read_config
from edge.console import result, say
from edge.daemon import sole
from edge.services import SERVICES

SUMMARY = "delete pairings, keys, exams and recordings; says how many there are, and does nothing without --yes"
EXAMPLES = """  sonosweep factory-reset                # what would be deleted; nothing is
  sonosweep factory-reset --yes          # after: systemctl stop sonosweep.target
  sonosweep factory-reset --config edge.toml   # of the device that this file describes, not of this machine's
  sonosweep factory-reset --yes --link-keys    # the CURVE keys of bridge and front ends too: new ones must be made"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether it is meant."""
    add_config(parser)
    parser.add_argument("--yes", action="store_true", help="delete; without it the counts are shown and nothing is touched")
    parser.add_argument("--link-keys", action="store_true", help="delete the keys of the link to the front end too")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0 where all was deleted; 1 where nothing was, for want of --yes. ``AlreadyRunning`` while a service runs."""
    config = read_config(options)
    run_dir = Path(config.run_dir)
    with ExitStack() as locks:
        if options.yes:
            for name in SERVICES:
                if (run_dir / f"{name}.lock").exists():  # made here it would be root's, and the service could not start any more
                    locks.enter_context(sole(run_dir, name))
            if Path(config.dicom.folder).is_dir():
                locks.enter_context(sole(Path(config.dicom.folder), ".send"))
        belongings = Belongings(config, link_keys=options.link_keys)
        counts = belongings.counts()
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"
        say(f"{'deleting' if options.yes else 'would be deleted'}: {told}; in {', '.join(map(str, belongings.folders))}")
        deleted = belongings.delete() if options.yes else 0
    done = f"{deleted} files deleted; on flash their contents may outlive this, unless the data partition is encrypted and its key goes too"
    text = done if options.yes else "nothing was deleted; to delete it: systemctl stop sonosweep.target, then repeat with --yes"
    result({"counts": counts, "deleted": deleted, "done": options.yes}, as_json=options.json, text=text)
    return 0 if options.yes else 1
