"""Recipes of training: everything that decides what a network becomes, frozen, and written into its bundle's card."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from edge.errors import SonosweepError


class BadRecipe(SonosweepError):
    """A recipe cannot be followed."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a network is trained. The budget is time, so that a run of N minutes ends annealed on every machine.

    ``sequence`` counts frames. ``warm_up`` and ``likelihood_from`` are shares of the budget. ``steps``: where it is not 0, the
    budget is so many steps instead of ``minutes``; then the same seed gives the same numbers.
    """

    network: str = "small"
    options: dict[str, float] = {}
    sequence: int = 32
    batch: int = 6
    takes: int = 2  # variations of each simulated sweep that are kept
    renewed: float = 0.04  # of the draws that see another variation: 0.3 s each, so a quarter of the steps
    minutes: float = 60.0
    steps: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.04
    floor: float = 0.005  # the learning rate at the end, as a share of the highest
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    smooth: float = 0.1  # below this error (scaled) the L1 loss is a parabola
    cosine: float = 0.3
    likelihood: float = 0.05
    likelihood_from: float = 0.3
    objective: Literal["ours", "published"] = "ours"  # published: MoGLo-Net's own losses, for MoGLo-Net
    sums: float = 0.1  # of errors added up over pieces of the sequence: drift is bias

    def __post_init__(self) -> None:
        positive = {"batch": self.batch, "minutes": self.minutes, "learning_rate": self.learning_rate, "clip": self.clip}
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                raise BadRecipe(f"{name} is {value}; it must be above 0")
        if self.sequence < 2:
            raise BadRecipe(f"a sequence of {self.sequence} frames has no motion; give 2 or more")
        if not (0 <= self.ema < 1 and 0 <= self.warm_up < 1 and 0 <= self.likelihood_from <= 1 and 0 <= self.renewed <= 1):
            raise BadRecipe("ema and warm_up lie in 0 to 1 (1 left out), likelihood_from and renewed in 0 to 1")
        if not self.steps >= 0 < self.takes:
            raise BadRecipe("steps are 0 or more, takes 1 or more")


PRESETS = {
    # One core: 0.13 s a step once the sweeps have been seen, so an hour is some 28,000 steps of 6 x 31 motions.
    "cpu": Recipe(),
    # One data-centre GPU: larger batches of longer sequences, so that the carried memory is trained as it is used.
    "gpu": Recipe(batch=64, minutes=20.0, learning_rate=2e-3, ema=0.999),
    # MoGLo-Net as published, but for its width (a bundle of 16 MB at most) and a learning rate for hours instead of days.
    "moglo": Recipe(network="moglo", options={"width": 0.25}, objective="published", sequence=5, batch=14, learning_rate=4e-4),
    # A few hundred tracked frames of one probe: minutes, gently.
    "adapt": Recipe(sequence=24, minutes=5.0, learning_rate=4e-4, ema=0.995, likelihood_from=0.0),
}


def learning_rate(recipe: Recipe, fraction: float) -> float:
    """At ``fraction`` of the budget: a straight warm-up, then half a cosine down to the floor."""
    if fraction < recipe.warm_up:
        return recipe.learning_rate * max(fraction / recipe.warm_up, 0.01)
    gone = min((fraction - recipe.warm_up) / (1 - recipe.warm_up), 1.0)
    return recipe.learning_rate * (recipe.floor + (1 - recipe.floor) * (1 + math.cos(math.pi * gone)) / 2)
