"""The card of a model bundle: everything that must be known to run a network and to trust it, as strict structs.

A bundle is a folder or a .zip with ``card.json``, one step graph (ONNX) per variant and ``golden.npz``. A *step graph* takes one
image and the state that the step before left, and gives the motion since that image and the new state; state is explicit input
and output, so that a device backend can keep it where it computes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from edge.errors import SonosweepError

CARD = "card.json"
Ports = dict[str, tuple[tuple[int | str, ...], str]]  # name: (shape, a name where it is not fixed; numpy type)
Six = tuple[float, float, float, float, float, float]
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class BundleCorrupt(SonosweepError):
    """A bundle cannot be read: a file is missing, damaged, not what the card says, or the card is not a card."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the card."""


class ImageInput(Entry, frozen=True, kw_only=True):
    """The graph input that takes the image: float32 [1, 1, height, width], grey values 0 to 255 of the 8-bit image.

    The window hangs from the middle of the image's top edge; beyond the image it is 0 (``resample.Resampler``).
    """

    input: str
    width: int
    height: int
    spacing_mm: tuple[float, float]  # lateral, axial
    anchor: Literal["top-centre"] = "top-centre"


class IntervalInput(Entry, frozen=True, kw_only=True):
    """The graph input that takes the time since the image before over the usual time: float32 [1, 1] (``edge.motion.intervals``)."""

    input: str


class Normalisation(Entry, frozen=True, kw_only=True):
    """A graph input (float32) that fits the network to a probe: scale or shift per channel. ``values`` in C order."""

    input: str
    shape: tuple[int, ...]
    values: tuple[float, ...]


class NormalisedLayer(Entry, frozen=True, kw_only=True):
    """A pair of normalisation inputs that can be fitted to a probe from unlabelled images (``edge.motion.normalisation``).

    Output ``statistics`` [2, channels] tells the mean and the mean square of what the layer was given in a step; in training
    these were ``mean`` and ``variance``. Layers are listed in the order in which they are computed.
    """

    scale: str
    shift: str
    statistics: str
    mean: tuple[float, ...]
    variance: tuple[float, ...]


class StateTensor(Entry, frozen=True, kw_only=True):
    """A tensor that the step hands to itself: graph output ``output`` is graph input ``input`` of the next step.

    At the start of a sweep every tensor holds ``initial``, and the first image is run ``Card.start_runs`` times; after each of
    these runs a ``first-frame`` tensor keeps what the run left and an ``initial`` one is set back. So a map of the previous
    frame begins as that of the first, and a ring of pair features is filled with the first frame's pair with itself.
    """

    input: str
    output: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16"] = "float32"
    initial: float = 0.0
    start: Literal["first-frame", "initial"] = "first-frame"


class Parity(Entry, frozen=True, kw_only=True):
    """How far a variant's steps are from those of FP32 (root mean square and largest), and what that does to the path.

    ``drift_points``: final drift rate (%) less that of FP32, mean over the sweeps; ``lpe_ratio``: LPE over that of FP32.
    """

    measured_on: str
    frames: int
    step_mm: float
    step_mm_largest: float
    step_deg: float
    step_deg_largest: float
    drift_percent: float
    drift_points: float
    lpe_ratio: float


class Graph(Entry, frozen=True, kw_only=True):
    """One variant's step graph. ``tolerance``: how far each output may be from the golden one, absolute, per output."""

    file: str
    tolerance: dict[str, float] = {}
    parity: tuple[Parity, ...] = ()


class ErrorMemory(Entry, frozen=True, kw_only=True):
    """How alike the errors of steps k apart are: lasting + (1 - lasting) * fading ** k, per motion parameter (``edge.motion.uncertainty``).

    Fitted on sweeps that the network never saw; without it the uncertainty of a place would be that of independent steps.
    """

    lasting: Six
    fading: Six


class MotionOutput(Entry, frozen=True, kw_only=True):
    """What the numbers mean: ``output`` [1, 6] times ``scale`` is CenterToPreviousCenter in canonical direction.

    Order tx, ty, tz, rx, ry, rz; R = Rz Ry Rx (``edge.transform.motion``). ``uncertainty`` (output [1, 6], empty: none) is in
    the same scaled numbers. The centre that it is ``about`` is that of the window, for a network cannot know how large the frame
    around its window is; whoever runs it moves the motion to the frame's centre.
    """

    output: str
    about: Literal["window-centre", "frame-centre"] = "window-centre"
    scale: Six = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    units: Literal["mm, rad"] = "mm, rad"
    angles: Literal["Rz Ry Rx"] = "Rz Ry Rx"
    uncertainty: str = ""
    uncertainty_is: Literal["", "log variance", "standard deviation"] = ""
    error_memory: ErrorMemory | None = None


class Metric(Entry, frozen=True, kw_only=True):
    """One measured figure, beside the same figure of the constant-motion baseline."""

    measured_on: str
    name: str
    value: float
    constant_motion: float


class Card(Entry, frozen=True, kw_only=True):
    """``card.json``. ``files``: sha256 of every other file of the bundle (filled in by ``sonosweep export bundle``)."""

    format: Literal[1] = 1
    kind: Literal["motion"]
    name: str
    version: str
    summary: str
    graphs: dict[str, Graph]
    image: ImageInput
    interval: IntervalInput | None = None  # None: the network looks at images alone
    motion: MotionOutput
    normalisation: tuple[Normalisation, ...] = ()
    layers: tuple[NormalisedLayer, ...] = ()
    state: tuple[StateTensor, ...] = ()
    start_runs: int = 1
    golden: str = "golden.npz"
    trained_on: str
    training: dict[str, Any] = {}  # how: recipe, seed, steps, minutes; what `sonosweep export train` needs to do it again
    metrics: tuple[Metric, ...] = ()
    licence: str
    attribution: str = ""
    intended_use: str = "research; not for clinical use"
    files: dict[str, str] = {}

    def signature(self) -> tuple[Ports, Ports]:
        """Inputs and outputs that every step graph of this bundle must have."""
        inputs: Ports = {self.image.input: ((1, 1, self.image.height, self.image.width), "float32")}
        if self.interval:
            inputs[self.interval.input] = ((1, 1), "float32")
        outputs: Ports = {self.motion.output: ((1, 6), "float32")}
        if self.motion.uncertainty:
            outputs[self.motion.uncertainty] = ((1, 6), "float32")
        for layer in self.layers:
            outputs[layer.statistics] = ((2, len(layer.mean)), "float32")
        for fixed in self.normalisation:
            inputs[fixed.input] = (fixed.shape, "float32")
        for state in self.state:
            inputs[state.input] = outputs[state.output] = (state.shape, state.dtype)
        return inputs, outputs


def six(values: Iterable[float]) -> Six:
    """Six numbers in the order tx, ty, tz, rx, ry, rz."""
    a, b, c, d, e, f = map(float, values)
    return a, b, c, d, e, f


def parse_card(text: bytes, name: str) -> Card:
    """The card in ``text``; ``BundleCorrupt`` says what is wrong in the file called ``name``."""
    try:
        card = msgspec.json.decode(text, type=Card)
        _check(card)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as wrong:
        raise BundleCorrupt(f"{name}: {wrong}; take the bundle from its source again or mend the card") from wrong
    return card


def is_name(text: str) -> bool:
    """Whether volumes and recordings can say it: one line of text, with no blank at either end."""
    return bool(text) and text.isprintable() and text == text.strip()


def _check(card: Card) -> None:
    """``ValueError`` with a clause for anything that the types cannot say."""
    if not is_name(card.name):
        raise ValueError(f"name {card.name!r:.60} is not one line of text without blanks at its ends")
    for file in (card.golden, *(g.file for g in card.graphs.values()), *card.files):
        if not PLAIN_NAME.fullmatch(file) or file == CARD:
            raise ValueError(f"{file!r} is not a plain file name")
    if not card.graphs:
        raise ValueError("graphs names no variant")
    image, motion = card.image, card.motion
    if not (8 <= image.width <= 4096 and 8 <= image.height <= 4096 and all(0.01 <= s <= 10 for s in image.spacing_mm)):
        raise ValueError(f"an image of {image.width} x {image.height} pixels of {image.spacing_mm} mm is out of range")
    shapes = [*(n.shape for n in card.normalisation), *(s.shape for s in card.state)]
    if any(size < 1 for shape in shapes for size in shape) or sum(map(math.prod, shapes)) > 2**26:
        raise ValueError("state and normalisation shapes must be positive and below 256 MiB")
    for entry in card.normalisation:
        if math.prod(entry.shape) != len(entry.values):
            raise ValueError(f"normalisation {entry.input} has {len(entry.values)} values for the shape {entry.shape}")
    sizes = {n.input: len(n.values) for n in card.normalisation}
    for layer in card.layers:
        if {len(layer.mean)} != {len(layer.variance), sizes.get(layer.scale, 0), sizes.get(layer.shift, 0)}:
            raise ValueError(f"layer {layer.statistics} does not fit the normalisation inputs {layer.scale} and {layer.shift}")
    memory = motion.error_memory
    if memory and not all(0 <= share <= 1 for share in (*memory.lasting, *memory.fading)):
        raise ValueError(f"motion.error_memory holds shares of 0 to 1, not {memory}")
    if bool(motion.uncertainty) != bool(motion.uncertainty_is):
        raise ValueError("motion.uncertainty and motion.uncertainty_is go together")
    if not 1 <= card.start_runs <= 64:
        raise ValueError(f"start_runs is {card.start_runs}; 1 to 64 are possible")
    given = [image.input, *filter(None, [card.interval and card.interval.input])]
    ports: list[Any] = [*given, *(n.input for n in card.normalisation), *(s.input for s in card.state)]
    outputs = [motion.output, *filter(None, [motion.uncertainty]), *(s.output for s in card.state), *(x.statistics for x in card.layers)]
    for names in (ports, outputs):
        if len(set(names)) != len(names):
            raise ValueError(f"a name is used twice in {names}")
