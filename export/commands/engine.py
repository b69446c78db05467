"""``sonosweep export engine``: build a TensorRT engine of a bundle for this machine, prove it, and keep it."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

import edge.motion.trt as trt
from edge.caches import cache_folders
from edge.commands.options import add_json
from edge.console import progress, result, say, table
from edge.motion.bundle import Bundle, find_bundle, open_bundle
from edge.motion.engine import EngineCard
from edge.motion.source import MotionUnavailable
from export.engine.builder import Shown
from export.engine.make import Wishes, cache_folder, check, make_best, make_engine

SUMMARY = "build a TensorRT engine of a bundle for this machine, prove it, and keep it"
EXAMPLES = """  sonosweep export engine small                     # INT8 or FP16, whichever is faster here; takes minutes on a Jetson
  sonosweep export engine small.zip --variant fp16
  sonosweep export engine small --variant int8-fp16 --weakly-typed    # TensorRT below 11: INT8 where strong typing fails
  sonosweep export engine small --check-only        # does TensorRT take every variant? needs no GPU"""
AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle in, engine and card out."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a path, or the name of a bundle that comes with the package")
    parser.add_argument("--variant", default=AUTO, metavar="NAME", help=f"{' or '.join(trt.VARIANTS)}; auto: the faster of them (auto)")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where the engine is kept, in place of where it is looked for")
    parser.add_argument("--weakly-typed", action="store_true", help="let TensorRT below 11 choose precisions over the same graph")
    parser.add_argument("--workspace-mib", type=int, default=512, metavar="N", help="memory for the builder to work in (512)")
    parser.add_argument("--check-only", action="store_true", help="parse and build every variant (or --variant), prove and keep nothing")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Check, or build, prove, keep; tell."""
    bundle = open_bundle(find_bundle(options.bundle))
    known = tuple(bundle.card.graphs) if options.check_only else tuple(v for v in trt.VARIANTS if v in bundle.card.graphs)
    if options.variant not in (AUTO, *known):
        raise MotionUnavailable(
            f"{bundle.path}: {options.variant} is none of {known or 'the variants that TensorRT runs'}; it has {tuple(bundle.card.graphs)}"
        )
    library = trt.library()
    say(f"{library.__name__} {library.__version__}, {bundle.card.name} {bundle.card.version}")
    if options.check_only:
        return _check(options, bundle, known if options.variant == AUTO else (options.variant,))
    return _make(options, bundle)


def _check(options: argparse.Namespace, bundle: Bundle, variants: tuple[str, ...]) -> int:
    wishes = Wishes(Path(), _bar, options.weakly_typed, options.workspace_mib)
    built = {variant: check(bundle, variant, wishes) for variant in variants}
    rows = [
        {"variant": name, "layers": b.layers, "MB": b.plan_bytes / 1e6, "seconds": b.seconds, "warnings": sum(b.warnings.values())}
        for name, b in built.items()
    ]
    answer = {
        "bundle": str(bundle.path),
        "identity": bundle.identity,
        "built": {name: msgspec.structs.asdict(b) for name, b in built.items()},
    }
    text = f"{table(rows, list(rows[0]))}\n\nTensorRT takes and builds them; nothing was proved or kept (--json shows its warnings)"
    result(answer, as_json=options.json, text=text)
    return 0


def _make(options: argparse.Namespace, bundle: Bundle) -> int:
    if lack := trt.missing():
        raise MotionUnavailable(f"an engine is built and proved on the GPU that runs it: {lack}; without a GPU there is --check-only")
    wishes = Wishes(cache_folder(options.cache), _bar, options.weakly_typed, options.workspace_mib)
    if wishes.cache not in cache_folders():
        say(f"{wishes.cache} is not looked at by `sonosweep run`: bring the engine to one of {', '.join(map(str, cache_folders()))}")
    machine = trt.machine()
    say("building; this takes seconds on a large GPU and minutes on a Jetson")
    auto = options.variant == AUTO
    card = make_best(bundle, machine, wishes) if auto else make_engine(bundle, options.variant, machine, wishes)
    result(msgspec.to_builtins(card), as_json=options.json, text=_text(card, wishes.cache))
    return 0


def _bar(variant: str) -> Shown:
    return partial(progress, total=None, label=f"building {variant}", unit="step")


def _text(card: EngineCard, cache: Path) -> str:
    depends, layers = card.depends, card.layers
    rows: list[dict[str, Any]] = [{"proof": f"golden {name}", "largest difference": value} for name, value in card.golden.items()]
    rows.append({"proof": "control: other images", "largest difference": card.control})
    share = f"{layers.work_int8 / layers.work:.0%} of their work" if layers.work else "work not told"
    int8 = f"{layers.convolutions_int8} of {layers.convolutions} convolutions ({share})"
    lines = [
        f"{depends.variant}, {depends.precision}: {card.plan_bytes / 1e6:.2f} MB in {cache}, built in {card.build_seconds} s",
        f"a step: {', '.join(f'{name} {ms:.3g} ms' for name, ms in card.step_ms.items())}",
        f"INT8: {int8}; {layers.reformats} of {layers.layers} layers reformat",
    ]
    return f"{table(rows, ['proof', 'largest difference'])}\n\n" + "\n".join(lines)
