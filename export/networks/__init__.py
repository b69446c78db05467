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
    """

    output_scale: Tensor

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [b, t, 1, h, w] (grey 0..255) to motion [b, t - 1, 6] (mm, rad) and log variance of motion / output_scale."""

    def initial_state(self) -> State:
        """State of a step before any frame, each tensor with a leading axis of 1."""

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Frame [1, 1, h, w] and state to motion / output_scale [1, 6], its log variance [1, 6] and the new state."""


NETWORKS: dict[str, Callable[..., MotionNetwork]] = {"small": Small, "moglo": MoGLo}  # option of all: width, a multiplier of the channels
