"""A command made of actions (``sonosweep export bundle ...``): each action is a module, loaded only when it is called."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, cast

from edge.app import Command, parser_of
from edge.errors import SonosweepError


class ExtraMissing(SonosweepError):
    """An action needs a library that is not installed."""


class Action(NamedTuple):
    """Where an action lives, what it is for, and which libraries of which extra it needs."""

    module: str
    summary: str
    needs: tuple[str, ...] = ()
    extra: str = ""


def add_actions(parser: argparse.ArgumentParser, actions: Mapping[str, Action]) -> None:
    """The action's name and everything after it; ``COMMAND ACTION --help`` shows the action's own options."""
    parser.add_argument("action", choices=actions, help="; ".join(f"{name}: {action.summary}" for name, action in actions.items()))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="options of the action (ACTION --help shows them)")
    parser.set_defaults(prog=parser.prog)


def run_action(options: argparse.Namespace, actions: Mapping[str, Action]) -> int:
    """Load the chosen action and run it; ``ExtraMissing`` names what to install."""
    action = actions[options.action]
    lacking = [library for library in action.needs if find_spec(library) is None]
    if lacking:
        raise ExtraMissing(f"{options.prog} {options.action} needs {', '.join(lacking)}: pip install 'sonosweep[{action.extra}]'")
    module = cast(Command, import_module(action.module))
    parser = parser_of(f"{options.prog.removeprefix('sonosweep ')} {options.action}", module)
    return module.run(parser.parse_args(options.arguments))
