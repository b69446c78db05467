"""The one command: ``sonosweep SUBCOMMAND``. Subcommands are entry points that each package brings, loaded when called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, distribution, entry_points, version
from typing import Protocol

from edge.console import say, write
from edge.errors import SonosweepError

GROUP = "sonosweep.commands"


class Command(Protocol):
    """A module that is a subcommand."""

    SUMMARY: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's options."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; answer the exit status."""


def commands() -> dict[str, EntryPoint]:
    """Name to entry point, nothing loaded."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def own_commands() -> dict[str, EntryPoint]:
    """Those of this package alone: to look through every installed one takes a slow machine longer than Python's start."""
    return {point.name: point for point in distribution("sonosweep").entry_points.select(group=GROUP)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 a named error (its sentence is on stderr), 2 wrong usage, 130 Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    known = own_commands()
    if not words or words[0] not in known:
        known = commands()
    if not words or words[0] in ("-h", "--help", "help"):
        write(_overview(known))
        return 0 if words else 2
    if words[0] == "--version":
        write(f"sonosweep {version('sonosweep')}\n")
        return 0
    if words[0] not in known:
        say(f"sonosweep: {words[0]!r} is not a command; there are {', '.join(known)}")
        return 2
    command: Command = known[words[0]].load()
    parser = parser_of(words[0], command)
    try:
        return command.run(parser.parse_args(words[1:]))
    except SonosweepError as wrong:
        say(f"sonosweep: {wrong}", "error")
        return 1
    except BrokenPipeError:  # the reader of our stdout has gone, as in `sonosweep info FILE | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as wrong:
        told = f"{wrong.filename or 'input or output'}: {wrong.strerror or wrong}"
        say(f"sonosweep: {told}; check the path, its rights and the free space", "error")
        return 1
    except KeyboardInterrupt:
        return 130


def parser_of(name: str, command: Command) -> argparse.ArgumentParser:
    """The command line of one subcommand."""
    parser = argparse.ArgumentParser(
        prog=f"sonosweep {name}",
        description=command.SUMMARY,
        epilog=f"examples:\n{command.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser


def _overview(known: dict[str, EntryPoint]) -> str:
    lines = [f"  {name:<14} {point.load().SUMMARY}" for name, point in known.items()]
    head = "usage: sonosweep COMMAND [options]     (sonosweep COMMAND --help shows options and examples)\n\n"
    return head + "\n".join(lines) + "\n"
