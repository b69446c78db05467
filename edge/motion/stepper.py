"""A step graph with its memory: hands each step's state to the next one, and starts a sweep as the card says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.compounding.image import Image
from edge.errors import SonosweepError
from edge.motion.card import Card, Ports

Tensors = dict[str, NDArray[Any]]


class BundleMismatch(SonosweepError):
    """A bundle's graph does not do what its card or its golden sequence says, or a file was made for another bundle."""


class Ported(Protocol):
    """Anything with the ports of a step graph."""

    inputs: Ports
    outputs: Ports


class Runner(Ported, Protocol):
    """One loaded graph without memory."""

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """All outputs by name, fresh arrays."""


class Steps(Protocol):
    """A step graph with its memory, wherever it computes: ``Stepper`` on the CPU, ``edge.motion.trt.DeviceStepper`` on a GPU.

    ``note``: what it has to do without, for the operator's log.
    """

    note: str

    def start(self, image: Image) -> None:
        """Forget the sweep before and take the first image of the next one."""

    def step(self, image: Image, interval: float = 1.0) -> Tensors:
        """The outputs of one step."""


Factory = Callable[[Mapping[str, tuple[float, ...]], bool], Steps]  # of a loaded graph: (normalisation, with the state in the outputs)


class Stepper:
    """Feeds images [height, width] float32 (grey values 0 to 255, the card's window) through one step graph."""

    note = ""

    def __init__(self, card: Card, runner: Runner, normalisation: Mapping[str, tuple[float, ...]] | None = None) -> None:
        """``normalisation`` replaces the card's values by graph input, in C order."""
        check_signature(card, runner)
        self._card, self._runner = card, runner
        given = normalisation or {}
        self._fixed: Tensors = {n.input: np.array(given.get(n.input, n.values), np.float32).reshape(n.shape) for n in card.normalisation}
        self.state: Tensors = self._initial()

    def start(self, image: Image) -> None:
        """Forget the sweep before and take the first image of the next one; a first image has no motion."""
        initial = self._initial()
        set_back = {s.input: initial[s.input] for s in self._card.state if s.start == "initial"}
        self.state = initial
        for _ in range(self._card.start_runs):
            self.step(image)
            self.state |= set_back

    def step(self, image: Image, interval: float = 1.0) -> Tensors:
        """All outputs of one step, the new state among them. ``interval``: the time since the image before over the usual one."""
        outputs = self._runner.infer(self.inputs(image, interval))
        self.state = {s.input: outputs[s.output] for s in self._card.state}
        return outputs

    def inputs(self, image: Image, interval: float = 1.0) -> Tensors:
        """Everything that the graph is given in a step that follows the last one."""
        card = self._card
        given: Tensors = {card.image.input: np.asarray(image).reshape(1, 1, card.image.height, card.image.width)}
        if card.interval:
            given[card.interval.input] = np.full((1, 1), interval, np.float32)
        return {**given, **self._fixed, **self.state}

    def _initial(self) -> Tensors:
        return {s.input: np.full(s.shape, s.initial, s.dtype) for s in self._card.state}


def check_signature(card: Card, graph: Ported) -> None:
    """``BundleMismatch`` where a loaded graph has not the ports that the card says."""
    for what, expected, found in zip(("input", "output"), card.signature(), (graph.inputs, graph.outputs), strict=True):
        for name in expected.keys() | found.keys():
            ours, theirs = expected.get(name), found.get(name)
            if ours != theirs:
                raise BundleMismatch(
                    f"{card.name} {card.version}: {what} {name} is {_port(ours)} in the card and {_port(theirs)} in the step "
                    "graph; mend the card, or export the graph again with fixed shapes"
                )


def _port(port: tuple[tuple[Any, ...], str] | None) -> str:
    return "missing" if port is None else f"{port[1]} {list(port[0])}"
