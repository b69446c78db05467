"""``sonosweep simulate``: a sweep over a phantom, with true poses, where no probe is at hand."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from edge.commands.options import add_json, numbers
from edge.console import facts, progress, result
from edge.simulation import (
    SCANNER_PERSISTENCE,
    Convex,
    Freehand,
    SimulationSettings,
    VesselPhantom,
    simulate_sweep,
    write_simulated_sweep,
)

SUMMARY = "simulate a freehand sweep over a phantom, with its true poses"
EXAMPLES = """  sonosweep simulate -o sweep.igs.mha
  sonosweep simulate -o long.igs.mha --frames 600 --step-mm 0.3 --seed 7
  sonosweep simulate -o truth.igs.mha --truth          # the same sweep without speckle and noise
  sonosweep simulate -o two.igs.mha --photoacoustic    # every second frame is photoacoustic
  sonosweep simulate -o blood.igs.mha --wavelengths 750,850 --frames 240 --step-mm 0.3   # vessels of known saturation
  sonosweep simulate -o curved.mcap --convex           # beams of a curved probe; sonosweep demo --sweep curved.mcap plays them"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to simulate, and where to write it."""
    usual, hand = SimulationSettings(), Freehand()
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SWEEP", help="sweep to write: .igs.mha or .mcap")
    parser.add_argument("--frames", type=int, default=usual.frames, help="how many images (%(default)s)")
    parser.add_argument("--frames-per-s", type=float, default=usual.frames_per_s, help="rate of the probe (%(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=usual.image_size, metavar=("WIDTH", "HEIGHT"), help="pixels (320 384)")
    parser.add_argument("--spacing-mm", type=float, default=usual.spacing_mm[0], help="pixel size (%(default)s)")
    parser.add_argument("--step-mm", type=float, default=hand.step_mm, help="mean step between frames; negative: backwards (%(default)s)")
    parser.add_argument("--seed", type=int, default=usual.seed, help="another phantom, path and speckle (%(default)s)")
    parser.add_argument(
        "--persistence",
        type=float,
        default=SCANNER_PERSISTENCE,
        metavar="SHARE",
        help="of the B-mode images before in each one, as scanners average; 0: each is new (%(default)s)",
    )
    parser.add_argument("--photoacoustic", action="store_true", help="every second frame is photoacoustic")
    parser.add_argument(
        "--wavelengths",
        type=numbers,
        default=(),
        metavar="NM,NM",
        help="photoacoustic frames of these in turn (680 to 1000 nm), of vessels with known oxygen; the truth is written beside the sweep",
    )
    parser.add_argument(
        "--mu-eff-per-mm", type=numbers, default=(), metavar="MU,MU", help="with --wavelengths: of the tissue at each (default: no loss)"
    )
    parser.add_argument("--convex", action="store_true", help="a curved probe: --size is beams and samples; written as .mcap")
    parser.add_argument("--truth", action="store_true", help="no speckle and no noise: the phantom itself")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Simulate, write, and say what was written."""
    settings = SimulationSettings(
        frames=options.frames,
        frames_per_s=options.frames_per_s,
        image_size=tuple(options.size),
        spacing_mm=(options.spacing_mm, options.spacing_mm),
        hand=Freehand(step_mm=options.step_mm),
        speckle=not options.truth,
        persistence=options.persistence,
        photoacoustic=options.photoacoustic,
        wavelengths_nm=options.wavelengths,
        mu_eff_per_mm=options.mu_eff_per_mm,
        convex=Convex() if options.convex else None,
        seed=options.seed,
    )
    begun = time.perf_counter()
    sweep = simulate_sweep(settings)
    frames = write_simulated_sweep(options.output, sweep, progress=lambda frames, total: progress(frames, total=total, label="simulating"))
    seconds = time.perf_counter() - begun
    answer: dict[str, Any] = {
        "frames": frames,
        "image_size": list(settings.image_size),
        "spacing_mm": list(settings.spacing_mm),
        "frames_per_s": settings.frames_per_s,
        "length_mm": round(abs(settings.hand.step_mm) * (frames - 1), 3),
        "seed": settings.seed,
        "seconds": round(seconds, 3),
        "bytes": options.output.stat().st_size,
        "sweep": str(options.output),
    }
    if isinstance(sweep.phantom, VesselPhantom):
        truth = options.output.with_name(options.output.name.partition(".")[0] + ".truth.json")
        truth.write_text(json.dumps(sweep.phantom.truth(), indent=1) + "\n")
        answer["truth"] = str(truth)
    result(answer, as_json=options.json, text=facts(answer))
    return 0
