"""``sonosweep export quantize``: INT8 and FP16 variants of a bundle, with what they cost in accuracy."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

import edge.motion.ort as ort
from calibration.domain import read_windows
from calibration.representative import representative
from edge.atomic import make_folder, replacing
from edge.commands.options import add_json
from edge.commands.outputs import check_outputs
from edge.console import progress, result, table
from edge.motion.bundle import find_bundle, open_bundle
from edge.motion.card import Parity
from export.half import to_fp16
from export.pack import REFERENCE, add_variants
from export.parity import compared, named, shown, steps_apart_mm, summary
from export.quantization import METHODS, NothingToQuantize, to_int8
from export.sensitivity import Layer, draw_layers, layer_by_layer

SUMMARY = "add INT8 and FP16 variants to a bundle, with their distance from FP32 on sweeps"
EXAMPLES = """  sonosweep export quantize small --calibrate scan1.igs.mha scan2.igs.mha -o small-int8.zip
  sonosweep export quantize mine.zip --calibrate scans/*.igs.mha --measure tracked.igs.mha --method entropy -o mine.zip
  sonosweep export quantize mine.zip --calibrate scans/*.igs.mha --sensitivity layers -o mine.zip
  sonosweep export quantize mine.zip --calibrate scans/*.igs.mha --variant fp16 int8-fp16 -o mine.zip   # for TensorRT alone"""

VARIANTS = ("fp16", "int8", "int8-fp16")
LAYERS, PICTURE = "layers.json", "layers.png"
STEPS = 256  # of the calibration sweeps: with more, ranges change by less than a hundredth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle and sweeps in, bundle out."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a path, or the name of a bundle that comes with the package")
    parser.add_argument("--calibrate", type=Path, nargs="+", required=True, metavar="SWEEP", help="sweeps that show what values occur")
    parser.add_argument("--measure", type=Path, nargs="+", default=[], metavar="SWEEP", help="tracked sweeps for the figures (those)")
    parser.add_argument(
        "--method",
        choices=("best", *METHODS),
        default="best",
        help="of finding ranges; best: nearest to FP32 on --calibrate (%(default)s)",
    )
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME", help=f"of {', '.join(VARIANTS)} (all)")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="steps of the sweeps that are looked at (%(default)s)")
    parser.add_argument("--sensitivity", type=Path, metavar="FOLDER", help="also measure each layer alone: layers.json, layers.png")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder, or .zip (may be the same)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """See values, quantize, compare, prove, pack, tell."""
    bundle = open_bundle(find_bundle(options.bundle))
    beside = [options.sensitivity / name for name in (LAYERS, PICTURE)] if options.sensitivity else []
    check_outputs([options.output, *beside], [*options.calibrate, *options.measure])
    card, graph = bundle.card, bundle.graph(REFERENCE)
    reading = progress(options.calibrate, total=len(options.calibrate), label="reading")
    windows = [stretch for path in reading for stretch in read_windows(path, card)]
    samples = list(progress(representative(card, ort.Runner(graph), windows, options.steps), total=options.steps, label="running"))
    if not samples:
        raise NothingToQuantize("the sweeps hold no two B-mode images in a row; give sweeps of the probe")
    methods = tuple(METHODS) if options.method == "best" else (options.method,)
    graphs = {method: to_int8(graph, samples, method=method) for method in progress(methods, total=len(methods), label="calibrating")}
    apart_mm = steps_apart_mm(card, {REFERENCE: graph, **graphs}, samples)
    chosen = min(apart_mm, key=lambda method: apart_mm[method])  # by the calibration sweeps: those that are measured only judge
    paths = options.measure or options.calibrate
    on = named(paths) + ("" if options.measure else " (calibrated on them)")
    half = {"fp16": to_fp16(graph)} if "fp16" in options.variant else {}
    both = {"int8-fp16": to_fp16(graphs[chosen])} if "int8-fp16" in options.variant else {}
    made = {**half, "int8": graphs[chosen], **both}
    variants = {name: made[name] for name in VARIANTS if name in options.variant}
    rows = compared(card, {REFERENCE: graph, **variants}, paths)
    parity = {name: summary(rows, name, on) for name in variants}
    layers = layer_by_layer(card, graph, samples, chosen, paths) if options.sensitivity else []
    packed = add_variants(bundle, variants, {name: (one,) for name, one in parity.items()}, options.output)
    answer = {
        "bundle": str(options.output),
        "identity": packed.identity,
        "bytes": packed.bytes,
        "calibrated_on": {"sweeps": [path.name for path in options.calibrate], "steps": len(samples)},
        "method": chosen,
        "step_mm_by_method": apart_mm,
        "parity": parity,
        "layers": [layer._asdict() for layer in layers],
    }
    if options.sensitivity:
        _keep(options.sensitivity, layers, f"{card.name}: what INT8 costs, layer by layer, on {on}")
    told = [f"INT8 by {chosen}, ranges of {len(samples)} steps; measured on {on}"]
    tried = [{"INT8 by": name, "step mm": mm, "on": "the calibration's steps"} for name, mm in apart_mm.items()]
    told += [table(tried, list(tried[0]))] if len(tried) > 1 else []
    told += [_table(parity)]
    told += [table([layer.row() for layer in layers], list(layers[0].row()))] if layers else []
    told += [f"{card.name}: fp32, {', '.join(parity)}: {packed.bytes / 1e6:.2f} MB in {options.output}"]
    result(answer, as_json=options.json, text="\n\n".join(told))
    return 0


def _table(parity: Mapping[str, Parity]) -> str:
    rows = [shown(one, name) for name, one in parity.items()]
    return table(rows, list(rows[0]))


def _keep(folder: Path, layers: Sequence[Layer], title: str) -> None:
    make_folder(folder)
    draw_layers(folder / PICTURE, layers, title)
    with replacing(folder / LAYERS) as out:
        out.write(msgspec.json.format(msgspec.json.encode([layer._asdict() for layer in layers]), indent=2) + b"\n")
