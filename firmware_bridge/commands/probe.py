"""``sonosweep probe``: plays a recorded sweep as a front end would send it."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import secrets
import select
import sys
import time
from pathlib import Path
from typing import Any

from edge.commands.options import add_calibration, add_json
from edge.config import BridgeConfig
from edge.console import progress, result, say
from edge.files import SweepFile, open_sweep
from firmware_bridge.held import hold
from firmware_bridge.probe import LINGER_S, FrontEnd, Playing, play

SUMMARY = "play a recorded sweep as a probe's front end: at its own rate, a multiple, or as fast as it goes"
EXAMPLES = """  sonosweep probe sweep.igs.mha                                  # to tcp://127.0.0.1:5555, at its own rate
  sonosweep probe sweep.igs.mha --rate max --endpoint ipc:///run/sonosweep/probe.ipc
  sonosweep probe spine.igs.mha --plus-config PlusDeviceSet.xml --loop
  sonosweep probe sweep.igs.mha --endpoint tcp://192.168.1.2:5555 --key probe7.key_secret --bridge-key bridge.key"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to play, how, and to whom."""
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help="recorded sweep (`sonosweep info` names what can be read)")
    parser.add_argument("--endpoint", default=BridgeConfig().endpoint, metavar="EP", help="the bridge (%(default)s)")
    parser.add_argument(
        "--rate", type=_rate, default=1.0, metavar="N", help="1 = the sweep's own rate, 2 = twice as fast ..., max (%(default)s)"
    )
    parser.add_argument("--loop", action="store_true", help="again and again, each time as a new sweep, until Ctrl-C")
    parser.add_argument(
        "--held", action="store_true", help="then hold the first image, and play again at each line on standard input; until Ctrl-C"
    )
    parser.add_argument("--no-poses", action="store_true", help="leave the poses out, as a probe without a tracker")
    add_calibration(parser)
    parser.add_argument("--key", type=Path, metavar="FILE", help="this front end's .key_secret, for an encrypted link")
    parser.add_argument("--bridge-key", type=Path, metavar="FILE", help="the bridge's public .key, for an encrypted link")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write when each frame was queued: JSON, sequence to CLOCK_MONOTONIC ns")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Play to the end or to Ctrl-C and tell what was sent; 0 only where every frame left for a bridge."""
    if bool(options.key) != bool(options.bridge_key):
        say("sonosweep: --key and --bridge-key belong together")
        return 2
    sweep = open_sweep(options.sweep, plus_config=options.plus_config, probe=options.probe)
    how = Playing(boot_id=secrets.randbits(64), rate=options.rate, with_poses=not options.no_poses)
    keys = (options.key, options.bridge_key) if options.key else None
    begun = time.monotonic()
    with FrontEnd(options.endpoint, keys=keys) as front_end:
        sweeps, interrupted = _play(options, sweep, front_end, how)
        seconds = time.monotonic() - begun
        if options.trace:
            options.trace.write_text(json.dumps(front_end.sent_ns))
        try:
            front_end.close(0 if interrupted and not front_end.connected else LINGER_S)
        except KeyboardInterrupt:
            interrupted = True
    answer: dict[str, Any] = {
        "endpoint": options.endpoint,
        "boot_id": f"{how.boot_id:016x}",
        "frames": front_end.left,
        "queued": front_end.queued,
        "connected": front_end.connected,
        "sweeps": sweeps,
        "seconds": round(seconds, 3),
        "frames_per_s": round(front_end.left / seconds, 2),
        "held_back_s": round(front_end.held_back_s, 3),
        "interrupted": interrupted,
    }
    text = "{frames} frames in {seconds} s ({frames_per_s} frames/s), held back by the bridge for {held_back_s} s".format(**answer)
    if options.json or not options.quiet:
        result(answer, as_json=options.json, text=text)
    if stayed := front_end.queued - front_end.left:
        why = "the bridge took nothing; restart it" if front_end.connected else "no bridge let us in; start one, or check the keys"
        say(f"sonosweep: {options.endpoint}: up to {stayed} of {front_end.queued} frames never left: {why}")
    return 130 if interrupted else 1 if stayed else 0


def _play(options: argparse.Namespace, sweep: SweepFile, front_end: FrontEnd, how: Playing) -> tuple[int, bool]:
    """How many sweeps were played to their end, and whether Ctrl-C ended the next."""
    sweeps, not_before_ns = 0, 0
    try:
        for number in itertools.count() if options.loop else range(1):
            played = play(sweep.frames(), front_end, how, number, not_before_ns)
            for frame in played if options.quiet else progress(played, total=sweep.frame_count, label="sending"):
                not_before_ns = frame.timestamp_ns + int(1e9 / (sweep.frames_per_s or 20))
            sweeps += 1
        if options.held:
            if options.trace:
                options.trace.write_text(json.dumps(front_end.sent_ns))
            hold(sweep, front_end, how, _line_waits, sweeps)
    except KeyboardInterrupt:
        return sweeps, True
    return sweeps, False


def _line_waits() -> bool:
    """Whether a line has come on standard input; it is taken."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    if ready and not sys.stdin.readline():
        raise KeyboardInterrupt  # whoever held the probe is gone
    return bool(ready)


def _rate(text: str) -> float:
    """``max`` is 0: no waiting."""
    if text == "max":
        return 0.0
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not (math.isfinite(rate) and rate > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number above 0 nor max")
    return rate
