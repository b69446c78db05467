"""``sonosweep update``: another version from a file, as from a USB stick; no network is needed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from edge.commands.options import add_config, add_json, read_config
from edge.console import result
from edge.daemon import sole
from edge.errors import SonosweepError
from edge.overview import Overview
from edge.services import UPDATING
from edge.update.journal import FOLDER, Journal
from edge.update.package import Dpkg
from edge.update.signature import TRUSTED
from edge.update.updating import Updated, Updating

SUMMARY = "install another version from a signed file; what does not work is taken back"
EXAMPLES = """  sonosweep update /media/usb/sonosweep_0.2.0+cp310_arm64.deb            # its .sig file lies beside it
  sonosweep update FILE.deb --check                 # only look whether it would be installed
  sonosweep update FILE.deb --downgrade             # an older one, down to what the packages so far allow"""
UP_S, WITHIN_S = 10, 180.0
BUSY = ("sweeping", "rebuilding", "saving", "recording")


class NotRoot(SonosweepError):
    """Packages are installed by root."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The package, and whom to trust."""
    parser.add_argument("package", type=Path, metavar="FILE.deb", help="the package; FILE.deb.sig must lie beside it")
    parser.add_argument("--check", action="store_true", help="verify and compare, install nothing")
    parser.add_argument("--downgrade", action="store_true", help="allow an older version than the installed one")
    parser.add_argument("--keys", type=Path, default=TRUSTED, metavar="DIR", help="public keys (*.pem) to trust (%(default)s)")
    parser.add_argument("--within", type=float, default=WITHIN_S, metavar="S", help="to be well in; else it is taken back (%(default)s)")
    parser.add_argument("--state", type=Path, default=FOLDER, metavar="DIR", help=argparse.SUPPRESS)
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0 where the package is installed and well (or, with --check, would be taken)."""
    if os.geteuid() != 0:
        raise NotRoot("packages are installed by root; run: sudo sonosweep update ...")
    run_dir = Path(read_config(options).run_dir)
    dpkg = Dpkg()
    with sole(options.state, "update"), _told(run_dir, options.check):
        updating = Updating(dpkg, Journal(options.state), lambda: _busy(run_dir), lambda: _well(options.within))
        if options.check:
            new, key = updating.check(options.package, options.keys, downgrade=options.downgrade)
            told = Updated(dpkg.installed(), new.version, key)
        else:
            told = updating.update(options.package, options.keys, downgrade=options.downgrade)
    words = "would be installed" if options.check else "is installed"
    result(told._asdict(), as_json=options.json, text=f"{told.after} {words} (before: {told.before or 'none'}; signed by {told.key})")
    return 0


@contextmanager
def _told(run_dir: Path, check: bool) -> Iterator[None]:
    """Whoever shows the device's state sees that it is being updated. After a kill it stays so until the next boot, which takes it back."""
    if check or not run_dir.is_dir():
        yield
        return
    (run_dir / UPDATING).touch()
    try:
        yield
    finally:
        (run_dir / UPDATING).unlink(missing_ok=True)


def _busy(run_dir: Path) -> bool:
    if not run_dir.is_dir():
        return False
    with zmq.Context() as context:
        overview = Overview(context, run_dir)
        try:
            overview.hear(2.5, until_known=True)
            return any(status.state in BUSY for status in overview.statuses().values())
        finally:
            overview.close()


def _well(within_s: float) -> bool:
    """The new version's own verdict, by the new version's own code. Where systemd does not run, that it starts at all."""
    if not Path("/run/systemd/system").exists():
        return subprocess.run(["/usr/bin/sonosweep", "--version"], stdout=subprocess.DEVNULL, check=False).returncode == 0
    verdict = ["/usr/bin/sonosweep", "verdict", "--seconds", str(UP_S), "--within", str(within_s)]
    return subprocess.run(verdict, stdout=sys.stderr, check=False).returncode == 0
