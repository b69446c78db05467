"""``sonosweep export card``: what a bundle says of itself, and measured figures and notes written into it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from edge.commands.options import add_json
from edge.console import result, table
from edge.errors import SonosweepError
from edge.motion.bundle import find_bundle, open_bundle
from edge.motion.card import Card, Metric
from export.pack import with_card

SUMMARY = "show a bundle's card, or write measured figures and notes into it"
EXAMPLES = """  sonosweep export card small
  sonosweep evaluate test.igs.mha --model mine.zip -o evaluation
  sonosweep export card mine.zip --measured evaluation/evaluation.json --note looks_at_test_sweep="test: final" -o mine.zip"""

FIGURES = ("final_drift_rate_percent", "piece_drift_rate_percent", "lpe_mm", "gpe_mm")


class NoEvaluation(SonosweepError):
    """A file is not what ``sonosweep evaluate -o`` writes, or an option says nothing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle in; figures and notes; bundle out."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a path, or the name of a bundle that comes with the package")
    parser.add_argument(
        "--measured",
        action="append",
        default=[],
        metavar="[NAME=]EVALUATION.json",
        help="what `sonosweep evaluate -o` wrote of this bundle; NAME: what it was measured on; replaces the figures of that name",
    )
    parser.add_argument("--note", action="append", default=[], metavar="KEY=TEXT", help="into the card's training notes; repeated: a list")
    parser.add_argument("--trained-on", metavar="TEXT", help="what the card says that the network was trained on")
    parser.add_argument("--attribution", metavar="TEXT", help="whom the card credits")
    parser.add_argument("-o", "--output", type=Path, metavar="BUNDLE", help="folder or .zip; may be the same; needed to write")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Read, change, write, show."""
    bundle = open_bundle(find_bundle(options.bundle))
    card = bundle.card
    for each in options.measured:
        card = _with_figures(card, *_named(each))
    if options.note:
        card = msgspec.structs.replace(card, training=card.training | _notes(options.note))
    changes = {"trained_on": options.trained_on, "attribution": options.attribution}
    card = msgspec.structs.replace(card, **{name: text for name, text in changes.items() if text is not None})
    if card != bundle.card and options.output is None:
        raise NoEvaluation("the changed card must go somewhere: name the bundle with -o (the same one is replaced when all is written)")
    if options.output is not None:
        bundle = with_card(bundle, card, options.output)
    told = {name: getattr(card, name) for name in ("name", "version", "summary", "trained_on", "licence", "attribution", "intended_use")}
    notes = {name: value for name, value in card.training.items() if name != "recipe"}
    figures = [msgspec.to_builtins(metric) for metric in card.metrics]
    lines = [f"{key:>14}  {value}" for key, value in {**told, **notes}.items() if value != ""]
    shown = table(figures, list(figures[0])) if figures else "no figures"
    answer = {**told, "identity": bundle.identity, "training": card.training, "metrics": figures}
    result(answer, as_json=options.json, text="\n".join([*lines, "", shown]))
    return 0


def _named(each: str) -> tuple[str, Path]:
    name, equals, path = each.rpartition("=")
    return (name, Path(path)) if equals else ("", Path(each))


def _with_figures(card: Card, name: str, path: Path) -> Card:
    """The card with the figures of one evaluation, in place of those of the same name."""
    try:
        said = msgspec.json.decode(path.read_bytes())
        sweeps: list[dict[str, Any]] = said["sweeps"]
        one = said["mean"] if len(sweeps) > 1 else sweeps[0]
        motion, constant = str(said["motion"]), one["baselines"]["constant"]
        figures = [(figure, one[figure], constant[figure]) for figure in FIGURES]
        figures += [(f"correlation_{axis}", r, constant["correlation"][axis]) for axis, r in one["correlation"].items()]
        for what in ("step", "position"):
            shares = (one["uncertainty"] or {}).get(what) or {}
            figures += [(f"errors_of_{what}_within_{share}%", percent / 100, 0.0) for share, percent in shares.items()]
    except (OSError, msgspec.DecodeError, KeyError, TypeError, IndexError) as wrong:
        raise NoEvaluation(f"{path}: is not what `sonosweep evaluate -o FOLDER` writes ({wrong!r})") from wrong
    if motion != f"network: {card.name}" and not motion.startswith(f"network: {card.name} for "):
        raise NoEvaluation(f"{path}: measures {motion}, and this card is of {card.name}; measure this bundle with --model")
    on = name or (f"mean of {len(sweeps)} sweeps" if len(sweeps) > 1 else str(one["sweep"]))
    rows = [
        Metric(measured_on=on, name=figure, value=round(value, 4), constant_motion=round(beside or 0.0, 4))
        for figure, value, beside in figures
        if value is not None
    ]
    return msgspec.structs.replace(card, metrics=(*(metric for metric in card.metrics if metric.measured_on != on), *rows))


def _notes(given: list[str]) -> dict[str, Any]:
    notes: dict[str, list[str]] = {}
    for each in given:
        key, equals, text = each.partition("=")
        if not (key and equals) or key == "recipe":
            raise NoEvaluation(f"--note {each}: give KEY=TEXT; `recipe` is the trainer's own")
        notes.setdefault(key, []).append(text)
    return {key: texts if len(texts) > 1 else texts[0] for key, texts in notes.items()}
