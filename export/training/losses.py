"""What a network is trained to make small. All in scaled outputs (motion / output scale), where the six values weigh alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from export.training.recipes import Recipe


class Losses(NamedTuple):
    """The parts (scalars, unweighted) and their weighted sum ``total``."""

    total: Tensor
    smooth_l1: Tensor
    cosine: Tensor
    sums: Tensor
    likelihood: Tensor


def losses(recipe: Recipe, estimated: Tensor, log_variance: Tensor, true: Tensor, fraction: float) -> Losses:
    """All [batch, steps, 6], scaled; ``fraction`` of the budget that is gone.

    Parameter space, for losses on points alone collapse to a constant. The likelihood sees the errors detached: it teaches the
    uncertainty, and cannot make the motion worse to look honest.
    """
    straight = smooth_l1_loss(estimated, true, beta=recipe.smooth)
    angle = (1 - torch.cosine_similarity(estimated, true, dim=-1, eps=1e-4)).mean()
    summed = smooth_l1_loss(estimated.sum(1), true.sum(1), beta=recipe.smooth) / estimated.shape[1] ** 0.5
    honest = gaussian_likelihood((estimated - true).detach(), log_variance)
    weight = recipe.likelihood if fraction >= recipe.likelihood_from else 0.0
    total = straight + recipe.cosine * angle + recipe.sums * summed + weight * honest
    return Losses(total, straight, angle, summed, honest)


def gaussian_likelihood(errors: Tensor, log_variance: Tensor) -> Tensor:
    """Mean negative logarithm of the likelihood, without its constant. The variance is held between e^-8 and e^6."""
    bounded = log_variance.clamp(-8, 6)
    return 0.5 * (errors.square() * torch.exp(-bounded) + bounded).mean()
