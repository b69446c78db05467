"""The processes that train together: one alone, or several under torchrun."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as distributed


@dataclass(frozen=True)
class Workers:
    """``rank`` of ``count`` processes, and the device this one computes on. The first (rank 0) writes files and talks."""

    rank: int
    count: int
    device: torch.device

    def agreed(self, fraction: float) -> float:
        """The first one's share of the budget: all must stop at the same step, and clocks differ."""
        if self.count == 1:
            return fraction
        said = torch.tensor([fraction], dtype=torch.float64, device=self.device)
        distributed.broadcast(said, 0)
        return float(said)


ALONE = Workers(0, 1, torch.device("cpu"))


@contextmanager
def gathered(device: str = "auto") -> Iterator[Workers]:
    """The workers that torchrun started, or this process alone. ``device``: cpu, cuda, or auto (cuda where there is one)."""
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if not distributed.is_torchelastic_launched():
        yield Workers(0, 1, torch.device(kind))
        return
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        rank = distributed.get_rank()
        here = torch.device(kind, distributed.get_node_local_rank()) if kind == "cuda" else torch.device(kind)
        if kind == "cuda":
            torch.cuda.set_device(here)
        yield Workers(rank, distributed.get_world_size(), here)
        gc.collect()  # what still holds the group must go before it, or its threads outlive it
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
