"""What a network is trained to make small. All in scaled outputs (motion / output scale), where the six values weigh alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from export.networks.moglo_losses import moglo_loss
from export.training.recipes import Recipe

SUMMED, APART = 20, 4  # steps whose errors are added up; a start every so many steps


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
    together = (estimated - true).unfold(1, min(SUMMED, estimated.shape[1]), APART).sum(-1)
    summed = smooth_l1_loss(together, torch.zeros_like(together), beta=recipe.smooth) / min(SUMMED, estimated.shape[1]) ** 0.5
    honest = gaussian_likelihood((estimated - true).detach(), log_variance)
    weight = recipe.likelihood if fraction >= recipe.likelihood_from else 0.0
    total = straight + recipe.cosine * angle + recipe.sums * summed + weight * honest
    return Losses(total, straight, angle, summed, honest)


def published_losses(recipe: Recipe, module: nn.Module, seen: Tensor, intervals: Tensor, true: Tensor) -> Losses:
    """MoGLo-Net's, of windows of five frames; the parts are those of :func:`losses`, of the mean of both heads, to be compared."""
    heads, embedding, _ = module(seen, intervals, published=True)
    heads = [head.float() for head in heads]
    with torch.no_grad():
        beside = losses(recipe, sum(heads) / len(heads), torch.zeros_like(true), true, 0.0)
    return beside._replace(total=moglo_loss(heads, embedding.float(), true))


def gaussian_likelihood(errors: Tensor, log_variance: Tensor) -> Tensor:
    """Mean negative logarithm of the likelihood, without its constant. The variance is held between e^-8 and e^6."""
    bounded = log_variance.clamp(-8, 6)
    return 0.5 * (errors.square() * torch.exp(-bounded) + bounded).mean()
