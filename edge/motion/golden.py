"""The golden sequence of a bundle: images and what the network said to them, run again wherever the bundle is opened."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.motion.card import BundleCorrupt, Card
from edge.motion.stepper import BundleMismatch, Steps, Tensors

STATE_SAMPLES = 4096  # of each state tensor, evenly spaced: the whole of a feature map would double the bundle
INTERVALS = (1.0, 2.0, 0.7)  # between the images, in turn
FEWEST_FRAMES = 3  # one to start, one step from the start's state, one step from a step's state


@dataclass(frozen=True)
class Golden:
    """``frames`` uint8 [n, height, width]; ``outputs`` by name [n - 1, ...]: one row for each image after the first.

    A state output's row holds at most ``STATE_SAMPLES`` evenly spaced elements.
    """

    frames: NDArray[np.uint8]
    outputs: Tensors


def run_golden(card: Card, stepper: Steps, frames: NDArray[np.uint8]) -> Golden:
    """What ``stepper`` says to ``frames``."""
    states = {s.output for s in card.state}
    rows: dict[str, list[NDArray[Any]]] = {}
    stepper.start(frames[0].astype(np.float32))
    for frame, interval in zip(frames[1:], cycle(INTERVALS), strict=False):
        for name, value in stepper.step(frame.astype(np.float32), interval).items():
            rows.setdefault(name, []).append(_sample(value) if name in states else value)
    return Golden(frames, {name: np.stack(values) for name, values in rows.items()})


def pack_golden(golden: Golden) -> bytes:
    """As ``golden.npz``."""
    packed = io.BytesIO()
    arrays: dict[str, Any] = {f"output.{name}": rows for name, rows in golden.outputs.items()}
    np.savez_compressed(packed, frames=golden.frames, **arrays)
    return packed.getvalue()


def read_golden(packed: bytes, card: Card) -> Golden:
    """The sequence in ``golden.npz``; ``BundleCorrupt`` where it is not one of this card."""
    outputs = card.signature()[1]
    if not packed.startswith(b"PK"):
        raise BundleCorrupt(f"{card.name}: {card.golden} is no .npz file")
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as held:
            golden = Golden(held["frames"], {name: held[f"output.{name}"] for name in outputs})
    except (ValueError, KeyError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as wrong:
        raise BundleCorrupt(f"{card.name}: {card.golden} is not a golden sequence of this card: {wrong}") from wrong
    size = (card.image.height, card.image.width)
    if golden.frames.dtype != np.uint8 or golden.frames.ndim != 3 or golden.frames.shape[1:] != size:
        raise BundleCorrupt(f"{card.name}: golden frames are uint8 [n, {size[0]}, {size[1]}], not {golden.frames.shape}")
    if len(golden.frames) < FEWEST_FRAMES:
        raise BundleCorrupt(f"{card.name}: a golden sequence has at least {FEWEST_FRAMES} frames")
    return golden


def differences(expected: Golden, found: Golden) -> dict[str, float]:
    """Largest absolute difference per output; infinite where shapes differ or a number is not finite."""
    answer = {}
    for name, rows in expected.outputs.items():
        ours = found.outputs[name]
        finite = ours.shape == rows.shape and bool(np.isfinite(ours).all())
        answer[name] = float(np.abs(ours.astype(np.float64) - rows).max()) if finite else float("inf")
    return answer


def prove(card: Card, variant: str, stepper: Steps, golden: Golden) -> dict[str, float]:
    """Run the golden sequence; the differences, or ``BundleMismatch`` where one is beyond the variant's tolerance."""
    found = differences(golden, run_golden(card, stepper, golden.frames))
    tolerance = card.graphs[variant].tolerance
    for name, difference in found.items():
        allowed = tolerance.get(name, 0.0)
        if not difference <= allowed:
            raise BundleMismatch(
                f"{card.name} {card.version} ({variant}): golden output {name} differs by {difference:.3g}, allowed is "
                f"{allowed:.3g}; this machine does not compute what the network was tested for: use another variant or backend, "
                "or take the bundle again"
            )
    return found


def _sample(value: NDArray[Any]) -> NDArray[Any]:
    flat = value.reshape(-1)
    return flat[:: -(-flat.size // STATE_SAMPLES)]
