"""An engine proves itself before it gets a name: the bundle's golden sequence, other images, and its time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from edge.motion.bundle import Bundle
from edge.motion.engine import LayerReport
from edge.motion.golden import differences, prove, read_golden, run_golden
from edge.motion.source import MotionFailed, MotionUnavailable
from edge.motion.stepper import BundleMismatch
from edge.motion.trt import Engine
from export.engine.build import EngineNotBuilt
from export.engine.layers import report_layers

WARM, TIMED = 20, 100  # steps before the clock runs, and steps of which the median is taken


class EngineUnproved(EngineNotBuilt):
    """An engine was built and does not do what the bundle's golden sequence says, or does not look at its images."""


@dataclass(frozen=True)
class Proof:
    """``golden``: largest difference per output; ``control``: how far other images move the motion; ``step_ms``: median."""

    golden: dict[str, float]
    control: float
    step_ms: float
    layers: LayerReport


def prove_engine(bundle: Bundle, variant: str, plan: bytes) -> Proof:
    """Run the plan (the bytes as they lie on the disk) on this machine. ``EngineUnproved``."""
    try:
        return _proved(bundle, variant, plan)
    except (BundleMismatch, MotionFailed, MotionUnavailable) as wrong:
        raise EngineUnproved(f"{variant}: an engine was built and is not kept: {wrong}") from wrong


def _proved(bundle: Bundle, variant: str, plan: bytes) -> Proof:
    card = bundle.card
    engine, golden = Engine(card, plan), read_golden(bundle.files[card.golden], card)
    stepper = engine.stepper({}, True)
    first = prove(card, variant, stepper, golden)
    others = np.stack([np.roll(255 - frame, 5 * i, axis=1) for i, frame in enumerate(golden.frames)])
    control = differences(golden, run_golden(card, stepper, others))[card.motion.output]
    allowed = card.graphs[variant].tolerance.get(card.motion.output, 0.0)
    if not allowed < control < np.inf:
        raise EngineUnproved(
            f"{variant}: an engine was built and is not kept: other images move the motion by {control:.3g}, which the tolerance of "
            f"{allowed:.3g} would not show; it does not look at what it is given, or the bundle's golden sequence is too still"
        )
    again = prove(card, variant, stepper, golden)  # other images in between: a sweep must leave nothing to the next
    worst = {name: max(value, again[name]) for name, value in first.items()}
    return Proof(worst, control, _step_ms(engine, golden.frames), report_layers(engine.layers()))


def _step_ms(engine: Engine, frames: NDArray[np.uint8]) -> float:
    """Median milliseconds from an image in host memory to its motion there."""
    stepper, images = engine.stepper({}, False), [frame.astype(np.float32) for frame in frames]
    stepper.start(images[0])
    times = []
    for image in islice(cycle(images), WARM + TIMED):
        began = time.perf_counter()
        stepper.step(image)
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times[WARM:]))
