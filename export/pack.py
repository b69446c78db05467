"""Packing a bundle. It proves itself before it gets its name: run, round trip, compare, and negative controls."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

import edge.motion.ort as ort
from edge.atomic import make_folder, replacing, sync_folder
from edge.errors import SonosweepError
from edge.motion.bundle import Bundle, open_bundle
from edge.motion.card import CARD, Card, Graph, Parity
from edge.motion.golden import Golden, differences, pack_golden, prove, read_golden, run_golden
from edge.motion.stepper import Stepper

REFERENCE = "fp32"  # the variant that makes the golden sequence
WITH_FP16 = {"fp16", "int8-fp16"}  # for TensorRT; ONNX Runtime's CPU computes FP16 in FP32
SLACK = 2.0  # times the difference seen here that a variant may have elsewhere
TOLERANCE = 1e-4  # of the largest golden value: other processors add up in another order


class ProofFailed(SonosweepError):
    """A bundle does not behave as a bundle must; it was not written."""


@dataclass(frozen=True)
class Packed:
    """``differences``: largest absolute one per output after the round trip; ``controls``: how far wrong input moves the output."""

    identity: str
    bytes: int
    differences: dict[str, float]
    controls: dict[str, float]


def pack(draft: Card, graphs: Mapping[str, bytes], frames: NDArray[np.uint8], out: Path) -> Packed:
    """Write the bundle ``out`` (.zip: one file, else a folder) from a card without checksums and its graphs by variant.

    ``frames`` uint8 [n, height, width] of the card's window become the golden sequence. ``ProofFailed``, ``BundleMismatch``,
    ``GraphRefused``: nothing was written.
    """
    _make_room(out)
    if graphs.keys() != draft.graphs.keys() or REFERENCE not in graphs:
        raise ProofFailed(f"the card has the variants {tuple(draft.graphs)}, the graphs are {tuple(graphs)}; {REFERENCE} is needed")
    reference = Stepper(draft, ort.Runner(graphs[REFERENCE]))
    golden = run_golden(draft, reference, frames)
    card = _with_tolerances(draft, golden)
    controls = _controls(card, reference, golden)
    prove(card, REFERENCE, reference, golden)  # a second time: a sweep must leave nothing to the next
    files = {card.graphs[variant].file: graph for variant, graph in graphs.items()} | {card.golden: pack_golden(golden)}
    return _sealed(card, files, controls, out)


def runner_of(variant: str, graph: bytes, threads: int = 0) -> ort.Runner:
    """A variant as it is proved here: those with FP16 as they are written."""
    return ort.Runner(graph, threads, as_written=variant in WITH_FP16)


def add_variants(bundle: Bundle, graphs: Mapping[str, bytes], parity: Mapping[str, tuple[Parity, ...]], out: Path) -> Packed:
    """Write ``bundle`` with further (or other) variants to ``out`` (may be where it is), each proved on the golden sequence.

    A variant may be from the golden outputs twice as far as it is here: another processor rounds elsewhere. ``ProofFailed`` where so
    wide a tolerance would not notice other images.
    """
    if REFERENCE in graphs:
        raise ProofFailed(f"{REFERENCE} is what the others are measured by; pack another bundle for another one")
    _make_room(out)
    golden = read_golden(bundle.files[bundle.card.golden], bundle.card)
    controls = _controls(bundle.card, Stepper(bundle.card, ort.Runner(bundle.graph(REFERENCE))), golden)
    usual = bundle.card.graphs[REFERENCE].tolerance
    added, files = dict(bundle.card.graphs), dict(bundle.files)
    for variant, graph in graphs.items():
        found = differences(golden, run_golden(bundle.card, Stepper(bundle.card, runner_of(variant, graph)), golden.frames))
        tolerance = {name: usual[name] + SLACK * apart for name, apart in found.items()}
        allowed = tolerance[bundle.card.motion.output]
        for control, moved in controls.items():
            if not allowed < moved:
                raise ProofFailed(
                    f"{variant} is {found[bundle.card.motion.output]:.3g} from the golden motion, and {control} only moves it by "
                    f"{moved:.3g}; leave it out, or quantize fewer layers (--sensitivity shows which)"
                )
        added[variant] = Graph(file=f"{variant}.onnx", tolerance=tolerance, parity=parity.get(variant, ()))
        files[added[variant].file] = graph
    return _sealed(msgspec.structs.replace(bundle.card, graphs=added), files, controls, out)


def _sealed(card: Card, files: Mapping[str, bytes], controls: dict[str, float], out: Path) -> Packed:
    """Write card and files beside ``out``, read them again, prove every variant from what was read, and only then give it the name."""
    contents = {name: content for name, content in files.items() if name != CARD}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    contents[CARD] = _as_text(msgspec.structs.replace(card, files=sums))
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        unproved = Path(folder) / out.name
        _write(contents, unproved)
        again = open_bundle(unproved)
        golden = read_golden(again.files[again.card.golden], again.card)
        found = {}
        for variant in again.card.graphs:
            found[variant] = prove(again.card, variant, Stepper(again.card, runner_of(variant, again.graph(variant))), golden)
        os.replace(unproved, out)
    sync_folder(out.parent)
    return Packed(again.identity, sum(map(len, again.files.values())), found[REFERENCE], controls)


def with_card(bundle: Bundle, card: Card, out: Path) -> Bundle:
    """Write ``bundle`` with another ``card`` to ``out`` (may be where it is): figures and words may differ, and nothing that it runs by."""
    same = ("graphs", "image", "interval", "motion", "normalisation", "layers", "state", "start_runs", "golden", "files")
    changed = [name for name in same if getattr(card, name) != getattr(bundle.card, name)]
    if changed:
        raise ProofFailed(f"{', '.join(changed)} of {bundle.path} cannot be changed without proving it anew: pack it with `export bundle`")
    make_folder(out.parent)
    _write({**bundle.files, CARD: _as_text(card)}, out)
    return open_bundle(out)


def _make_room(out: Path) -> None:
    """``ProofFailed`` where a folder would have to be replaced: that cannot be done at once."""
    if out.is_dir() and any(out.iterdir()):
        raise ProofFailed(f"{out} is there already; remove it or name another folder")
    make_folder(out.parent)


def _as_text(card: Card) -> bytes:
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


def _with_tolerances(draft: Card, golden: Golden) -> Card:
    """Where the card says none, what the reference variant may differ by on another processor."""
    usual = {name: TOLERANCE * max(1.0, float(np.abs(rows).max())) for name, rows in golden.outputs.items()}
    graphs = dict(draft.graphs)
    for variant, graph in graphs.items():
        unknown = graph.tolerance.keys() - usual.keys()
        if unknown or (variant != REFERENCE and graph.tolerance.keys() != usual.keys()):
            raise ProofFailed(f"the tolerance of {variant} names {tuple(graph.tolerance)}; the outputs are {tuple(usual)}")
        graphs[variant] = msgspec.structs.replace(graph, tolerance=usual | graph.tolerance)
    return msgspec.structs.replace(draft, graphs=graphs)


def _controls(card: Card, stepper: Stepper, golden: Golden) -> dict[str, float]:
    """How far the motion moves for other images, and for a forgotten state: further than the tolerance, or the proof proves nothing."""
    output, tolerance = card.motion.output, card.graphs[REFERENCE].tolerance[card.motion.output]
    others = np.stack([np.roll(255 - frame, 5 * i, axis=1) for i, frame in enumerate(golden.frames)])
    controls = {"other images": differences(golden, run_golden(card, stepper, others))[output]}
    if card.state:
        forgetful = []
        for frame in golden.frames[1:]:
            stepper.start(frame.astype(np.float32))
            forgetful.append(stepper.step(frame.astype(np.float32))[output])
        controls["forgotten state"] = float(np.abs(np.stack(forgetful) - golden.outputs[output]).max())
    for name, moved in controls.items():
        if not tolerance < moved < np.inf:
            raise ProofFailed(
                f"{name}: the motion moves by {moved:.3g}, which the tolerance of {tolerance:.3g} would not show; give a golden "
                "sequence with movement in it, or mend the graph: it does not look at what it is given"
            )
    return controls


def _write(files: Mapping[str, bytes], out: Path) -> None:
    if out.suffix != ".zip":
        for name, content in files.items():
            with replacing(out / name) as target:
                target.write(content)
        return
    with replacing(out) as target, zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):  # no dates: the same network gives the same bytes
            archive.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
