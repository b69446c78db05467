"""``sonosweep calibrate temporal``: the lag between images and a tracker or an inertial unit."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from calibration.commands.spatial import now, watching
from calibration.moving import imu_signal, line_signal, speckle_signals, tracker_signal
from calibration.temporal import LARGEST_LAG_S, LEAST_CORRELATION, LEAST_OF_SPECKLE, LagUnclear, measured_lag
from edge.commands.options import add_json
from edge.console import result
from edge.errors import SonosweepError
from edge.files import read_probe, write_probe
from edge.files.probe import LARGEST_LAG_MS, Temporal

SUMMARY = "the lag between images and tracker: move the probe up and down over a flat bottom for 15 s"
EXAMPLES = """  sonosweep calibrate temporal bottom.igs.mha
  sonosweep calibrate temporal bottom.igs.mha --probe probe.json            # and keep it: sweeps are then read with it
  sonosweep calibrate temporal video.igs.mha --tracker tracker.igs.mha
  sonosweep calibrate temporal sweep.igs.mha --speckle --probe probe.json   # any sweep over tissue, moved to and fro sideways
  sonosweep calibrate temporal bottom.mcap --imu"""


class NothingUsesIt(SonosweepError):
    """A result was to be kept that no part of the runtime reads."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sweep in, lag out."""
    parser.add_argument("sweep", type=Path, metavar="SEQ", help="sweep in which one bright line moves up and down")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--tracker", type=Path, metavar="SEQ", help="sequence with the tracker's motion on the same clock (default: the same file)"
    )
    other.add_argument("--speckle", action="store_true", help="any tracked sweep: the lateral speed of its speckle, no line is needed")
    other.add_argument("--imu", action="store_true", help="tell the lag of the probe's inertial unit, by its acceleration")
    parser.add_argument(
        "--rows", type=int, nargs=2, metavar=("FIRST", "LAST"), help="rows of the image in which the line moves (default: all)"
    )
    parser.add_argument("--max-lag-ms", type=float, default=LARGEST_LAG_S * 1e3, help="largest lag that is tried (%(default)s)")
    parser.add_argument("--probe", type=Path, metavar="PROBE.json", help="keep the lag to the tracker in this probe file")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Look, compare, keep, tell."""
    if not 0 < options.max_lag_ms <= LARGEST_LAG_MS:
        raise LagUnclear(f"--max-lag-ms {options.max_lag_ms:g} is none; give up to {LARGEST_LAG_MS:g}")
    if options.imu and options.probe:
        raise NothingUsesIt(
            "nothing places images by an inertial unit, so a probe file has no place for its lag; leave out --probe to be told it"
        )
    probe = read_probe(options.probe) if options.probe else None
    if options.speckle:
        image, moving = speckle_signals(
            options.sweep, None if probe is None else msgspec.structs.replace(probe, lag_ms=0.0), watching("speckle")
        )
    else:
        image = line_signal(options.sweep, tuple(options.rows) if options.rows else None, watching("lines"))
        moving = imu_signal(options.sweep) if options.imu else tracker_signal(options.tracker or options.sweep)
    lag = measured_lag(image, moving, options.max_lag_ms / 1e3, LEAST_OF_SPECKLE if options.speckle else LEAST_CORRELATION)
    temporal = Temporal(
        sequence=options.sweep.name,
        signals=f"{image.name} and {moving.name}",
        correlation=lag.correlation,
        halves_ms=lag.halves_ms,
        seconds=lag.seconds,
        date=now(),
    )
    if probe is not None:
        write_probe(options.probe, msgspec.structs.replace(probe, lag_ms=lag.lag_ms, temporal=temporal))
    who = "inertial unit" if options.imu else "tracker"
    text = f"an image stamped t was taken where the {who} was at t {lag.lag_ms:+.1f} ms\n"
    first, second = lag.halves_ms
    text += f"correlation {abs(lag.correlation):.3f} over {lag.seconds:.1f} s; first half {first:+.1f} ms, second {second:+.1f} ms"
    text += f"\nkept in {options.probe}" if probe is not None else ""
    answer = {"lag_ms": lag.lag_ms, "of": who, "probe": str(options.probe) if options.probe else None, **msgspec.to_builtins(temporal)}
    result(answer, as_json=options.json, text=text)
    return 0
