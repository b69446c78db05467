"""The motion networks by name. Each is a torch module that trains on sequences and steps frame by frame with equal numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from export.networks.moglo import MoGLo
from export.networks.small import Small

__all__ = ["NETWORKS", "MoGLo", "MotionNetwork", "Small"]
State = dict[str, Tensor]


class MotionNetwork(Protocol):
    """What the trainer and the export want of a network; all are ``torch.nn.Module`` as well.

    ``output_scale`` [6] (mm, rad): about the size of a step. Training loss and ``log_variance`` are in outputs divided by it.
    Intervals are the time since the frame before over the usual one: 1, or 2 after a lost frame.
    """

    output_scale: Tensor
    timed: bool  # whether intervals are looked at

    def see(self, windows: Tensor) -> Tensor:
        """What of windows [t, h, w] (grey 0..255, one sweep) training keeps, [t, ...]; nothing learned takes part in it."""

    def mirrored(self, seen: Tensor) -> Tensor:
        """What :meth:`see` [..., t, ...] would have given of the mirrored windows."""

    def forward(self, seen: Tensor, intervals: Tensor) -> tuple[Tensor, Tensor]:
        """Seen [b, t, ...] and intervals [b, t - 1] to motion [b, t - 1, 6] (mm, rad) and log variance of motion / output_scale."""

    def initial_state(self) -> State:
        """State of a step before any frame, each tensor with a leading axis of 1."""

    def step(self, frame: Tensor, interval: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Frame [1, 1, h, w], interval [1, 1] and state to motion / output_scale [1, 6], its log variance [1, 6] and the new state."""


NETWORKS: dict[str, Callable[..., MotionNetwork]] = {"small": Small, "moglo": MoGLo}  # option of all: width, a multiplier of the channels
