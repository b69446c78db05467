"""A tiny bundle to build engines of."""

from __future__ import annotations

from pathlib import Path

from tiny_network import card_json, step_graph

from edge.motion.bundle import open_bundle
from edge.motion.card import parse_card
from export.engine.build import Request
from export.golden_frames import random_frames
from export.pack import add_variants, pack

CARD = parse_card(card_json(), "card.json")
GRAPH = step_graph().SerializeToString()
BOTH = ("int8-fp16", "fp16")


def packed_bundle(folder: Path) -> Path:
    """fp32, fp16 and int8-fp16, all the same graph."""
    path = folder / "tiny"
    pack(CARD, {"fp32": GRAPH}, random_frames(CARD, 6), path.with_suffix(".zip"))
    add_variants(open_bundle(path.with_suffix(".zip")), {"fp16": GRAPH, "int8-fp16": GRAPH}, {}, path)
    return path


def request(bundle: Path, **changes) -> Request:
    fields = {"variant": "fp16", "weakly_typed": False, "workspace_mib": 64, "optimisation_level": 3, **changes}
    return Request(bundle=str(bundle), **fields)
