"""The training loop: one step, repeated until the budget is gone; it can be killed at any moment and taken up again.

Batches are drawn by the number of the step, so that a run taken up again sees what it would have seen (but for renewed variations).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import msgspec
import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from edge.errors import SonosweepError
from export.training.checkpoint import CheckpointUnfit
from export.training.losses import Losses, losses, published_losses
from export.training.recipes import Recipe, learning_rate
from export.training.trainer_batches import Sequences
from export.training.workers import ALONE, Workers

AHEAD = 3  # batches prepared while the network computes
REMEMBERED = 4000  # points of the loss curve


class TrainingFailed(SonosweepError):
    """Training gave no numbers any more."""


class Batches(Protocol):
    """Where training frames come from."""

    def __call__(self, rng: np.random.Generator, count: int, frames: int) -> Sequences:
        """``count`` sequences of so many frames as the network sees them."""


class Trainer:
    """Trains ``module`` (a network of ``export.networks``) by ``recipe``; ``average`` holds the running mean of its weights."""

    def __init__(self, recipe: Recipe, module: nn.Module, batches: Batches, workers: Workers = ALONE) -> None:
        self.recipe, self.module, self.workers = recipe, module.to(workers.device), workers
        self.step, self.seconds = 0, 0.0
        self.history: list[list[float]] = []  # step, minutes, then the losses
        self._batches, self._scale = batches, module.get_buffer("output_scale").detach().clone().to(workers.device)
        self._optimiser = torch.optim.AdamW(_groups(module, recipe), lr=recipe.learning_rate)
        self._parallel = DistributedDataParallel(module) if workers.count > 1 else module
        self.average = {name: value.detach().clone() for name, value in module.state_dict().items()}
        self._half = recipe.precision == "bfloat16" or (recipe.precision == "auto" and _has_bfloat16(workers.device))

    @property
    def fraction(self) -> float:
        """Share of the budget that is gone."""
        return self.step / self.recipe.steps if self.recipe.steps else self.seconds / (60 * self.recipe.minutes)

    def run(self, tell: Callable[[Trainer], None] = lambda trainer: None) -> None:
        """Train until the budget is gone; ``tell`` hears of every step (to save, to draw, to show how far it is)."""
        with ThreadPoolExecutor(1, "batches") as pool:
            waiting: dict[int, Future[Sequences]] = {}
            began, before = time.monotonic(), self.seconds
            while (fraction := self.workers.agreed(self.fraction)) < 1:
                for ahead in range(self.step, self.step + AHEAD):
                    if ahead not in waiting:
                        waiting[ahead] = pool.submit(self._draw, ahead)
                self._advance(waiting.pop(self.step).result(), fraction)
                self.seconds = before + time.monotonic() - began
                tell(self)
            for future in waiting.values():
                future.cancel()
        self._parallel = self.module  # lets go of the other workers

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs."""
        return {
            "recipe": msgspec.json.encode(self.recipe).decode(),
            "step": self.step,
            "seconds": self.seconds,
            "module": dict(self.module.state_dict()),
            "average": dict(self.average),
            "optimiser": self._optimiser.state_dict(),
            "history": [list(row) for row in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`. ``CheckpointUnfit`` where it was made by another recipe."""
        made_by = msgspec.json.decode(state["recipe"], type=Recipe)
        if made_by != self.recipe:
            other = [name for name in Recipe.__struct_fields__ if getattr(made_by, name) != getattr(self.recipe, name)]
            raise CheckpointUnfit(f"the checkpoint was made with another {', '.join(other)}; resume with the same options")
        self.module.load_state_dict(state["module"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.average = {name: value.to(self.workers.device) for name, value in state["average"].items()}
        self.step, self.seconds, self.history = state["step"], state["seconds"], [list(row) for row in state["history"]]

    def _draw(self, step: int) -> Sequences:
        rng = np.random.default_rng((self.recipe.seed, self.workers.rank, step))
        return self._batches(rng, self.recipe.batch, self.recipe.sequence)

    def _advance(self, drawn: Sequences, fraction: float) -> None:
        device = self.workers.device
        torch.manual_seed((self.recipe.seed << 32) + (self.workers.rank << 24) + self.step)  # for dropout, also after a kill
        self.module.train()
        for group in self._optimiser.param_groups:
            group["lr"] = group["share"] * learning_rate(self.recipe, fraction)
        seen, intervals, true = drawn.seen.to(device), drawn.intervals.to(device), drawn.motion.to(device) / self._scale
        with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
            if self.recipe.objective == "published":
                found = published_losses(self.recipe, self._parallel, seen, intervals, true)
            else:
                estimated, log_variance = self._parallel(seen, intervals)
                found = losses(self.recipe, estimated.float() / self._scale, log_variance.float(), true, fraction)
        if not bool(torch.isfinite(found.total)):
            raise TrainingFailed(
                f"the loss is {float(found.total.detach())} at step {self.step}; try a lower learning rate, or look at the data"
            )
        self._optimiser.zero_grad(set_to_none=True)
        found.total.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip)
        self._optimiser.step()
        self.step += 1
        self._follow()
        self._remember(found)

    @torch.no_grad()
    def _follow(self) -> None:
        """The average moves towards the weights, faster at the beginning; what is counted and not learned is copied."""
        keep = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        learned = {name for name, _ in self.module.named_parameters()}
        for name, value in self.module.state_dict().items():
            if name in learned:
                self.average[name].lerp_(value.detach(), 1 - keep)
            else:
                self.average[name].copy_(value)

    def _remember(self, found: Losses) -> None:
        values = [float(part.detach()) for part in found]
        self.history.append([float(self.step), self.seconds / 60, *values])
        if len(self.history) > REMEMBERED:  # every other point is enough for a curve
            self.history = self.history[::2]


def averaged(trainer: Trainer) -> nn.Module:
    """The trained module with its averaged weights (they replace the last step's), ready to be measured or exported."""
    trainer.module.load_state_dict(trainer.average)
    return trainer.module.eval()


def _has_bfloat16(device: torch.device) -> bool:
    """Whether it computes in bfloat16 itself (a GPU, a CPU with AVX512-BF16 or AMX: twice as fast there); elsewhere it is slower."""
    return device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Matrices decay, biases and scales do not."""
    decayed = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": recipe.weight_decay, "share": 1.0},
        {"params": others, "weight_decay": 0.0, "share": 1.0},
    ]
