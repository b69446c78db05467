"""What a network costs: multiplications and additions of its convolutions and linear layers, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def count_flops(module: nn.Module, run: Callable[[], object]) -> int:
    """Two per multiply-add of every convolution and linear layer that ``run`` passes through. Works on the meta device too."""
    total = 0

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += 2 * output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += 2 * output.numel() * layer.in_features

    handles = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return total


def count_parameters(module: nn.Module) -> int:
    """Numbers that are learned."""
    return sum(parameter.numel() for parameter in module.parameters())
