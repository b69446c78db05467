"""``sonosweep export source``: simulated sweeps to train on and to be judged by, and proof that they behave as real ones do."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.commands.options import add_json
from edge.console import progress, result, table
from edge.errors import SonosweepError

SUMMARY = "simulate sweeps to train on, or prove that the simulation behaves"
EXAMPLES = """  sonosweep export source -o train --sweeps 400
  sonosweep export source -o held_out --held-out --sweeps 20
  sonosweep export source --proof
  sonosweep export source --proof --sweeps 12 --beside leg_0138_0212.igs.mha"""


class NothingAsked(SonosweepError):
    """Neither a folder nor a proof was asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many, how long, where to."""
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where the sweeps go; sweeps that are there are kept")
    parser.add_argument("--sweeps", type=int, default=20, metavar="N", help="how many (20)")
    parser.add_argument("--frames", type=int, default=36, metavar="N", help="frames of a training sweep (36)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another number gives other sweeps (1)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="how many draw at once (2)")
    parser.add_argument("--device", default="cpu", help="torch device to draw on (cpu)")
    parser.add_argument("--held-out", action="store_true", help="the frozen test sweeps instead, as .igs.mha with poses")
    parser.add_argument("--proof", action="store_true", help="measure speckle, steps and images; --sweeps says on how many held-out sweeps")
    parser.add_argument("--beside", type=Path, nargs="+", default=[], metavar="SWEEP", help="with --proof: measure real sweeps as well")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Write, or prove."""
    if min(options.sweeps, options.frames - 3, options.processes) < 1:
        raise NothingAsked("--sweeps and --processes start at 1, --frames at 4")
    if options.proof:
        return _prove(options)
    if options.output is None:
        raise NothingAsked("name a folder with -o, or ask for --proof")
    from export.training.generate import generate, generate_held_out

    if options.held_out:
        found = generate_held_out(options.sweeps, options.output)
    else:
        how = {"processes": options.processes, "device": options.device}
        found = generate(options.sweeps, options.frames, options.seed, options.output, **how)
    files = sorted(progress(found, total=options.sweeps, label="sweeps"))
    answer = {"folder": str(options.output), "sweeps": len(files), "files": [file.name for file in files]}
    result(answer, as_json=options.json, text=f"{len(files)} sweeps in {options.output}")
    return 0


def _prove(options: argparse.Namespace) -> int:
    from export.training.proof import held_out_images, image_rows, speckle_rows, step_rows, tracked_images

    speckle, steps = speckle_rows(), step_rows()
    images, columns = image_rows(held_out_images(options.sweeps)), ["what", "measured", "real"]
    if options.beside:
        beside = {row["what"]: row["measured"] for row in image_rows(tracked_images(options.beside))}
        images, columns = [row | {"beside": beside.get(row["what"], "")} for row in images], [*columns, "beside"]
    text = "\n\n".join(
        [
            "Speckle against its laws\n" + table(speckle, ["what", "measured", "expected"]),
            "Steps of 300 random hands\n" + table(steps, list(steps[0])),
            f"Images of {options.sweeps} held-out sweeps beside real ones\n" + table(images, columns),
        ]
    )
    result({"speckle": speckle, "steps": steps, "images": images}, as_json=options.json, text=text)
    return 0
