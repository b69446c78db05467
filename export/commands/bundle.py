"""``sonosweep export bundle``: pack a step graph with its card and golden sequence, and prove it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from edge.commands.options import add_json
from edge.console import result, table
from edge.motion.card import BundleCorrupt, parse_card
from edge.motion.golden import FEWEST_FRAMES
from export.golden_frames import NoGoldenFrames, frames_of_sweep, random_frames
from export.graph import check_graph
from export.pack import REFERENCE, pack

SUMMARY = "pack a step graph with its card and golden sequence, and prove it"
EXAMPLES = """  sonosweep export bundle step.onnx --card card.json --golden sweep.igs.mha -o small.zip
  sonosweep export bundle step.onnx --card card.json --golden random -o small --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Graph, card and golden images in, bundle out."""
    parser.add_argument("graph", type=Path, metavar="STEP.onnx", help="the FP32 step graph")
    parser.add_argument("--card", type=Path, required=True, metavar="CARD.json", help="the card, without checksums")
    parser.add_argument("--golden", default="random", metavar="SWEEP", help="sweep whose first images are the proof, or `random`")
    parser.add_argument("--golden-frames", type=int, default=6, metavar="N", help="length of the golden sequence (6)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder, or .zip")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Check, pack, prove, tell."""
    count = options.golden_frames
    if not FEWEST_FRAMES <= count <= 1000:
        raise NoGoldenFrames(f"--golden-frames {count}: {FEWEST_FRAMES} to 1000 are possible")
    try:
        card = parse_card(options.card.read_bytes(), str(options.card))
    except OSError as wrong:
        raise BundleCorrupt(f"{options.card}: {wrong.strerror}; name the card with --card") from wrong
    content, facts = check_graph(options.graph)
    frames = random_frames(card, count) if options.golden == "random" else frames_of_sweep(Path(options.golden), card, count)
    packed = pack(card, {REFERENCE: content}, frames, options.output)
    answer = {
        "bundle": str(options.output),
        "name": card.name,
        "version": card.version,
        **asdict(packed),
        "golden_frames": len(frames),
        "graph": asdict(facts),
    }
    rows = [{"proof": f"golden {name}", "largest difference": value} for name, value in packed.differences.items()]
    rows += [{"proof": f"control: {name}", "largest difference": value} for name, value in packed.controls.items()]
    text = f"{table(rows, ['proof', 'largest difference'])}\n\n{card.name} {card.version}: {packed.bytes / 1e6:.2f} MB in "
    text += f"{options.output}, opset {facts.opset}, IR {facts.ir}, {facts.nodes} nodes, {facts.parameters} parameters"
    result(answer, as_json=options.json, text=text)
    return 0
