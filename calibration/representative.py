"""What a step graph meets in use: the inputs of its steps on sweeps, states included, over the operator's gain and dynamic range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.domain import Windows
from edge.motion.card import Card
from edge.motion.stepper import Runner, Stepper, Tensors

# Grey added, and contrast about the middle grey: what turning gain and dynamic range does to a log-compressed image.
SETTINGS = ((0, 1.0), (-30, 1.0), (25, 1.0), (0, 0.75), (0, 1.3))


def shown_with(windows: Windows, grey: float, contrast: float) -> Windows:
    """The images uint8 as a scanner set otherwise would show them. Where there is no image (0) there is none after."""
    table = np.clip(np.rint(128 + (np.arange(256) + grey - 128) * contrast), 0, 255).astype(np.uint8)
    table[0] = 0
    return np.asarray(table[windows])


def representative(card: Card, runner: Runner, sweeps: Sequence[Windows], count: int) -> Iterator[Tensors]:
    """Inputs of ``count`` steps (of all, where there are fewer), evenly over ``sweeps`` (uint8 [n, height, width] each), which take the
    :data:`SETTINGS` in turn. Every sweep is run as on a device, so that the states are those of sweeps and not of noise.
    """
    steps = sum(len(sweep) - 1 for sweep in sweeps)
    wanted = set(np.linspace(0, steps - 1, min(count, steps)).round().astype(int).tolist())
    number = 0
    for index, sweep in enumerate(sweeps):
        images: NDArray[np.float32] = shown_with(sweep, *SETTINGS[index % len(SETTINGS)]).astype(np.float32)
        stepper = Stepper(card, runner)
        stepper.start(images[0])
        for image in images[1:]:
            if number in wanted:
                yield stepper.inputs(image)
            stepper.step(image)
            number += 1
