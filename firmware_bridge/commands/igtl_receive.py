"""``sonosweep igtl receive``: an OpenIGTLink server (PLUS, or a probe behind it) as the device's front end."""

from __future__ import annotations

import argparse
import secrets
import time
from pathlib import Path
from typing import Any

from edge.commands.options import add_json
from edge.config import BridgeConfig
from edge.console import result, say
from edge.processes import ended_by_sigterm
from firmware_bridge.igtl_frames import POSE, IgtlFrames, Wanted
from firmware_bridge.igtl_source import IgtlSource, parse_address
from firmware_bridge.probe import LINGER_S, FrontEnd, Playing, play

SUMMARY = "feed the bridge from an OpenIGTLink server: its IMAGE messages become frames, ImageToReference their poses"
EXAMPLES = """  sonosweep igtl receive 192.168.1.30:18944                       # to tcp://127.0.0.1:5555, until Ctrl-C
  sonosweep igtl receive localhost --image Image_Reference
  sonosweep igtl receive 192.168.1.30 --spacing-mm 0.2 0.2 --no-poses"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """From where, what of it, and to which bridge."""
    parser.add_argument("server", metavar="HOST:PORT", help="the server; without a port 18944")
    parser.add_argument("--endpoint", default=BridgeConfig().endpoint, metavar="EP", help="the bridge (%(default)s)")
    parser.add_argument("--image", default="", metavar="NAME", help="device name of the images (the first that comes)")
    parser.add_argument("--pose", default=POSE, metavar="NAME", help="TRANSFORM or TDATA element with the poses (%(default)s)")
    parser.add_argument("--spacing-mm", type=float, nargs=2, metavar=("LATERAL", "AXIAL"), help="pixel size, goes before the images' own")
    parser.add_argument("--no-poses", action="store_true", help="leave the poses out")
    parser.add_argument("--silent-s", type=float, default=2.0, metavar="S", help="a sweep ends where no image comes so long (%(default)s)")
    parser.add_argument("--sweeps", type=int, default=0, metavar="N", help="stop after N sweeps (0: at Ctrl-C)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="this front end's .key_secret, for an encrypted link")
    parser.add_argument("--bridge-key", type=Path, metavar="FILE", help="the bridge's public .key, for an encrypted link")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Receive until Ctrl-C and tell what was sent."""
    if bool(options.key) != bool(options.bridge_key):
        say("sonosweep: --key and --bridge-key belong together")
        return 2
    spacing_mm = tuple(options.spacing_mm) if options.spacing_mm else None
    frames = IgtlFrames(Wanted(options.image, options.pose, spacing_mm))
    source = IgtlSource(parse_address(options.server), frames, options.silent_s)
    how = Playing(boot_id=secrets.randbits(64), rate=0, with_poses=not options.no_poses)
    keys = (options.key, options.bridge_key) if options.key else None
    begun, posed = time.monotonic(), 0
    sweeps = 0
    with ended_by_sigterm(), FrontEnd(options.endpoint, keys=keys) as front_end:
        try:
            while not source.stopped and not (options.sweeps and sweeps >= options.sweeps):
                any_frame = False
                for frame in play(source.sweep(), front_end, how, sweeps):
                    any_frame = True
                    posed += frame.pose_status == "ok"
                sweeps += any_frame
        except KeyboardInterrupt:
            pass
        finally:
            source.close()
        front_end.close(LINGER_S if front_end.connected else 0)
    answer: dict[str, Any] = {
        "server": options.server,
        "endpoint": options.endpoint,
        "frames": front_end.left,
        "with_poses": posed,
        "sweeps": sweeps,
        "connections": source.connections,
        "seconds": round(time.monotonic() - begun, 3),
        "passed_over": dict(frames.passed_over),
    }
    text = "{frames} frames of {sweeps} sweeps in {seconds} s, {with_poses} with poses".format(**answer)
    result(answer, as_json=options.json, text=text + "".join(f"\n  passed over: {n} {why}" for why, n in frames.passed_over.items()))
    return 0
