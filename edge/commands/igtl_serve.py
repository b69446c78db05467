"""``sonosweep igtl serve``: the device as an OpenIGTLink server."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from edge.commands.options import add_config, read_config
from edge.console import say
from edge.daemon import notify, sole
from edge.errors import SonosweepError
from edge.openigtlink.server import PORT, IgtlServer, listen

SUMMARY = "show the live images, their poses and the volume to 3D Slicer, PLUS and other OpenIGTLink clients"
EXAMPLES = """  sonosweep igtl serve                              # on this machine only, port 18944
  sonosweep igtl serve --address 192.168.1.2        # to a network: the protocol knows no passwords
  sonosweep igtl serve --address 192.168.1.2 --read-only"""


class SwitchedOff(SonosweepError):
    """The maker of the device does not offer this."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and what clients may do."""
    add_config(parser)
    parser.add_argument("--address", default="127.0.0.1", metavar="IP", help="the network interface to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help="(%(default)s); 0 = any free one")
    parser.add_argument("--read-only", action="store_true", help="clients may look, and not start or stop a sweep")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    config = read_config(options)
    if not config.features.openigtlink:
        raise SwitchedOff("OpenIGTLink is switched off on this device ([features] openigtlink = false)")
    run_dir = Path(config.run_dir)
    with sole(run_dir, "igtl"):
        asyncio.run(_serve(run_dir, options))
    say("igtl: stopped")
    return 0


async def _serve(run_dir: Path, options: argparse.Namespace) -> None:
    listening = listen(options.address, options.port)
    address, port = listening.getsockname()[:2]
    server = IgtlServer(run_dir, listening, read_only=options.read_only)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runs, waits = asyncio.ensure_future(server.run()), asyncio.ensure_future(stop.wait())
    say(f"igtl: {address}:{port}; in 3D Slicer: OpenIGTLinkIF, connector as client, this host name and port")
    notify("READY=1", "STATUS=serving")
    try:
        await asyncio.wait({runs, waits}, return_when=asyncio.FIRST_COMPLETED)
        if runs.done():
            runs.result()
    finally:
        notify("STOPPING=1")
        for task in (runs, waits):
            task.cancel()
        await asyncio.gather(runs, waits, return_exceptions=True)
