"""``sonosweep export firstboot``: builds the configured network's engine at the first boot, or says why there is none to build."""

from __future__ import annotations

import argparse

import edge.gpu as gpu
from edge.commands.options import add_config, read_config
from edge.config import Config
from edge.console import say
from edge.daemon import notify

SUMMARY = "build the configured network's engine where TensorRT is and none fits yet"
EXAMPLES = """  sonosweep export firstboot                        # as configured in /etc/sonosweep/edge.toml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything is in the configuration file."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Build, prove and keep; 0 as well where there is nothing to build."""
    text = _done(read_config(options))
    say(f"firstboot: {text}")
    notify(f"STATUS={text}")
    return 0


def _done(config: Config) -> str:
    if lack := gpu.missing():
        return f"no engine to build: {lack}"
    from export.engine.first import first_engine  # imports much; without a GPU the reconstructor need not wait for that

    return first_engine(config)
