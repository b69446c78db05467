"""``sonosweep config``: whether configuration files are right, and what counts in the end."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.commands.options import add_json
from edge.config import ConfigError, Layered, layers, read_layers
from edge.config_text import as_text, keys
from edge.console import result, say
from edge.tablet.branding import read_branding

SUMMARY = "check configuration files, or show what is in force and where each value comes from"
EXAMPLES = """  sonosweep config check                                # /etc/sonosweep/edge.toml and edge.d/*.toml
  sonosweep config check edge.toml edge.d/50-site.toml  # before they are copied to a device
  sonosweep config show                                 # the effective values, and the file that set each
  sonosweep config show --documented                    # with what each key means: a file to begin with"""

FILES = ("bridge.server_key", "bridge.allowed_keys", "motion.preset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with which files."""
    parser.add_argument("word", choices=("check", "show"), help="check: every file, each mistake by name; show: what is in force")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="instead of the device's own, the weakest first")
    parser.add_argument("--documented", action="store_true", help="show: put above each key what it means and which values it takes")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """0 where every file is right."""
    files = options.files or layers(None)
    if options.word == "check":
        return _check(files, own=not options.files, as_json=options.json)
    layered = read_layers(files)
    result(keys(layered), as_json=options.json, text=as_text(layered, documented=options.documented))
    return 0


def _missing(layered: Layered) -> list[str]:
    """What the configuration names that is not on this machine, or not what it should be."""
    named = {key: getattr(getattr(layered.config, table), name) for key in FILES for table, _, name in [key.partition(".")]}
    absent = [
        f"{layered.origin[key]}: {key}: {path} does not exist; copy it there, or name another"
        for key, path in named.items()
        if path and not Path(path).exists()
    ]
    try:
        read_branding(layered.config.device)
    except ConfigError as wrong:
        absent.append(str(wrong))
    return absent


def _check(files: list[Path], *, own: bool, as_json: bool) -> int:
    wrong: list[str] = []
    for path in files:
        try:
            read_layers([path])
        except ConfigError as error:
            wrong.append(str(error))
    if not wrong and own:
        wrong += _missing(read_layers(files))
    for sentence in wrong:
        say(f"sonosweep: {sentence}")
    count = 0 if wrong else len(read_layers(files).origin)
    text = f"{len(wrong)} of {len(files)} files are wrong" if wrong else f"{len(files)} files set {count} keys; all are known and possible"
    result({"files": [str(path) for path in files], "wrong": wrong, "keys": count}, as_json=as_json, text=text)
    return 1 if wrong else 0
