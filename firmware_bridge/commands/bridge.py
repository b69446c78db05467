"""``sonosweep bridge``: the service where front ends connect."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import zmq

from edge.commands.options import add_config, read_config
from edge.console import say
from edge.daemon import ask_for_real_time, serve, sole
from firmware_bridge.bridge import Bridge

SUMMARY = "the service where the probe's front end connects: checks frames and hands them on"
EXAMPLES = """  sonosweep bridge                                            # as configured in /etc/sonosweep/edge.toml
  sonosweep bridge --run-dir run --endpoint ipc://run/probe.ipc   # on a desk
  sonosweep bridge --config edge.toml --endpoint tcp://0.0.0.0:5555   # edge.toml names server_key and allowed_keys"""
PRIORITY = 10  # of SCHED_FIFO: above what is not real time, below the kernel's own threads (50)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the service: everything else is in the configuration file."""
    add_config(parser)
    parser.add_argument("--endpoint", metavar="EP", help="where front ends connect (tcp:// or ipc://), instead of the configured one")
    parser.add_argument(
        "--allow-plaintext",
        action="store_true",
        help="listen on a network without encryption; only where the cable leads to the front end and nowhere else",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    config = read_config(options)
    if options.endpoint:
        config = msgspec.structs.replace(config, bridge=msgspec.structs.replace(config.bridge, endpoint=options.endpoint))
    with sole(Path(config.run_dir), "bridge"), zmq.Context() as context:
        bridge = Bridge(context, config, allow_plaintext=options.allow_plaintext)
        if config.bridge.real_time:
            say(f"bridge: real time was {'given' if ask_for_real_time(PRIORITY) else 'refused; running as it is'}")
        say(f"bridge: front ends connect to {config.bridge.endpoint}{' (CURVE)' if config.bridge.server_key else ''}")
        try:
            serve(bridge.step, status=lambda: bridge.state)
        finally:
            bridge.close()
    return 0
