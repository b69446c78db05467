"""Fitting a network to a probe from unlabelled images: normalisation values from what its layers see, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge.motion.card import Card
from edge.motion.stepper import Runner, Stepper

FLOOR = 1e-5  # of a variance: a channel that is never used must not be blown up
MOST = 4.0  # times that a scale may change: beyond this, the images are no ultrasound images
Values = dict[str, tuple[float, ...]]


def card_values(card: Card) -> Values:
    """The bundle's own values by graph input."""
    return {entry.input: entry.values for entry in card.normalisation}


def refitted(card: Card, seen: Mapping[str, NDArray[np.float64]], share: float = 1.0) -> Values:
    """Values with which every layer gives what it gave in training, were its input distributed as ``seen``.

    ``seen``: [2, channels] (mean, mean square over the images) by the statistics' output. ``share`` 0 keeps the distribution of
    training, 1 takes the one that was seen: few images say little.
    """
    values = card_values(card)
    for layer in card.layers:
        scale, shift = (np.array(values[name]) for name in (layer.scale, layer.shift))
        mean, variance = np.array(layer.mean), np.array(layer.variance)
        found, square = seen[layer.statistics]
        now = mean + share * (found - mean)
        spread = variance + share * (np.maximum(square - found**2, 0) - variance)
        new = scale * np.clip(np.sqrt((variance + FLOOR) / (spread + FLOOR)), 1 / MOST, MOST)
        values |= {layer.scale: tuple(new.tolist()), layer.shift: tuple((shift + mean * scale - now * new).tolist())}
    return values


def seen_statistics(
    card: Card, runner: Runner, sweeps: Iterable[Iterable[NDArray[np.float32]]], values: Values
) -> dict[str, NDArray[np.float64]]:
    """What the layers see in ``sweeps`` of images [height, width] (the card's window), run with ``values``: see :func:`refitted`.

    A layer sees what the layers before it make, so fit as many times as there are layers, or until nothing changes.
    """
    total = {layer.statistics: np.zeros((2, len(layer.mean))) for layer in card.layers}
    count, stepper = 0, Stepper(card, runner, values)
    for sweep in sweeps:
        images = iter(sweep)
        stepper.start(next(images))
        for image in images:
            outputs = stepper.step(image)
            count += 1
            for name, sum_ in total.items():
                sum_ += outputs[name]
    return {name: sum_ / max(count, 1) for name, sum_ in total.items()}
