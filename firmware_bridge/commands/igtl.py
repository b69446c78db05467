"""``sonosweep igtl ACTION``: OpenIGTLink out of the device, and into it."""

from __future__ import annotations

import argparse

from edge.commands.actions import Action, add_actions, run_action

SUMMARY = "OpenIGTLink: show the device's images to 3D Slicer and PLUS (serve), or feed it from such a server (receive)"
EXAMPLES = """  sonosweep igtl serve --address 192.168.1.2
  sonosweep igtl receive 192.168.1.30:18944
  sonosweep igtl serve --help"""

ACTIONS = {
    "serve": Action("edge.commands.igtl_serve", "show live images, poses and the volume to OpenIGTLink clients"),
    "receive": Action("firmware_bridge.commands.igtl_receive", "play an OpenIGTLink server's images to the bridge, as a probe does"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action and its own options."""
    add_actions(parser, ACTIONS)


def run(options: argparse.Namespace) -> int:
    """Run the chosen action."""
    return run_action(options, ACTIONS)
