"""Fitting a network to the probe at hand from a minute of unlabelled scanning: normalisation statistics, with ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edge.motion.ort as ort
from edge.errors import SonosweepError
from edge.files import open_sweep
from edge.motion.bundle import Bundle
from edge.motion.card import Card, NormalisedLayer, is_name
from edge.motion.golden import Golden, prove, read_golden, run_golden
from edge.motion.network import ProbeNormalisation
from edge.motion.normalisation import Values, card_values, refitted, seen_statistics
from edge.motion.resample import Resampler
from edge.motion.stepper import Runner, Stepper
from edge.placed_images import placed_images
from edge.reconstructor import MAX_BRIDGED_FRAMES

REFERENCE = "fp32"
SETTLED = 1e-3  # of a value: less than the motion can show
FEWEST_IMAGES = 50
Windows = NDArray[np.uint8]


class CannotFit(SonosweepError):
    """A bundle or the images given for it cannot be fitted to each other; nothing was written."""


@dataclass(frozen=True)
class Fitted:
    """``probe`` goes beside the bundle. ``layers`` were fitted. ``changes``: the largest relative change of a value in each round."""

    probe: ProbeNormalisation
    layers: tuple[str, ...]
    images: int
    changes: tuple[float, ...]
    golden_moved: float  # how far the motion on the golden images moves, in scaled outputs


def read_windows(path: Path, card: Card) -> list[Windows]:
    """The B-mode images of a sweep in the card's window, uint8 [n, height, width]; one array for each unbroken stretch."""
    resample = Resampler(card.image.width, card.image.height, card.image.spacing_mm)
    stretches: list[list[NDArray[np.uint8]]] = []
    before = None
    for frame, image in placed_images(frame for frame in open_sweep(path).frames() if frame.modality == "bmode"):
        key = (*frame.sweep_key, frame.sequence)
        if before is None or key[:2] != before[:2] or key[2] - before[2] > 1 + MAX_BRIDGED_FRAMES:
            stretches.append([])
        before = key
        stretches[-1].append(np.rint(resample(image, frame.geometry.spacing_mm)).astype(np.uint8))
    return [np.stack(stretch) for stretch in stretches if len(stretch) > 1]


def image_layers(card: Card, runner: Runner, golden: Golden) -> tuple[NormalisedLayer, ...]:
    """The layers that see single images: what they are given does not depend on the image before. Found on the golden images.

    Layers behind a comparison of images see how fast the probe was moved as well, which a minute of scanning samples poorly.
    A network that sees comparisons only has no such layer.
    """
    stepper, single = Stepper(card, runner), Stepper(card, runner)
    alone = {layer.statistics for layer in card.layers}
    stepper.start(golden.frames[0].astype(np.float32))
    for frame in golden.frames[1:].astype(np.float32):
        single.start(frame)
        moving, still = stepper.step(frame), single.step(frame)
        alone = {name for name in alone if np.allclose(moving[name], still[name], rtol=1e-3, atol=1e-5)}
    return tuple(layer for layer in card.layers if layer.statistics in alone)


def fit_domain(
    bundle: Bundle,
    sweeps: Sequence[Windows],
    probe: str,
    *,
    share: float = 1.0,
    all_layers: bool = False,
    told: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Re-estimate the normalisation of ``bundle`` on unlabelled ``sweeps`` (:func:`read_windows`), until it changes no more.

    ``share`` 0 keeps the statistics of training, 1 takes those of the images. ``all_layers``: also those that :func:`image_layers`
    leaves out; they are fitted too where there are no others. The bundle is proved on its golden images before, and run on them with
    the new values after: what it says then is kept, so that an engine or a quantized graph can be proved with these values as well.
    ``told`` hears round and change. ``CannotFit``, ``BundleMismatch``.
    """
    card = bundle.card
    images = sum(map(len, sweeps))
    if not is_name(probe):
        raise CannotFit(f"the probe's name {probe!r:.60} must be one line of text without blanks at its ends; volumes say it")
    if not card.layers:
        raise CannotFit(f"{bundle.path}: {card.name} {card.version} has no layers to fit; use a bundle that lists some in its card")
    if images < FEWEST_IMAGES:
        raise CannotFit(f"{images} images say too little about a probe; scan for a minute, at least {FEWEST_IMAGES} images")
    if not 0 <= share <= 1:
        raise CannotFit(f"a share of {share} is none; give 0 to 1")
    runner = ort.Runner(bundle.graph(REFERENCE))
    golden = read_golden(bundle.files[card.golden], card)
    prove(card, REFERENCE, Stepper(card, runner), golden)
    layers = (() if all_layers else image_layers(card, runner, golden)) or card.layers
    values, changes = card_values(card), []
    for round_ in range(len(layers) + 1):
        seen = seen_statistics(card, runner, ((window.astype(np.float32) for window in sweep) for sweep in sweeps), values)
        new = refitted(card, seen, share)
        fitted = values | {name: new[name] for layer in layers for name in (layer.scale, layer.shift)}
        changes.append(_change(values, fitted))
        values = fitted
        if told:
            told(round_ + 1, changes[-1])
        if changes[-1] < SETTLED:
            break
    motion = run_golden(card, Stepper(card, runner, values), golden.frames).outputs[card.motion.output]
    if not np.isfinite(motion).all():
        raise CannotFit(f"{bundle.path}: with these images the network says nothing finite; they are no ultrasound images of a probe")
    kept = tuple(tuple(row) for row in motion.reshape(len(motion), 6).astype(np.float64).tolist())
    moved = float(np.abs(motion - golden.outputs[card.motion.output]).max())
    names = tuple(layer.scale.removesuffix(".scale") for layer in layers)
    made = ProbeNormalisation(bundle=bundle.identity, probe=probe, values=values, golden_motion=kept)
    return Fitted(made, names, images, tuple(changes), moved)


def _change(before: Values, after: Values) -> float:
    """Largest change of any value, relative to the largest of its kind."""
    return max(float(np.abs(np.subtract(after[name], before[name])).max() / (np.abs(before[name]).max() + 1e-9)) for name in before)
