"""The losses that MoGLo-Net is published with: motion-weighted error, correlation of the whole batch, triplets of embeddings."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

TRIPLET_WEIGHT, MARGIN = 0.005, 0.1
SLOW = 2.0  # weight of a motion of zero; fast motion adds its own size


def motion_weighted_error(estimated: Tensor, true: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute error, each value weighted by |weight| + 2; without ``weight`` plain, as the published script trains."""
    error = (estimated - true).abs()
    return error.mean() if weight is None else (error * (weight.abs() + SLOW)).mean()


def correlation_loss(estimated: Tensor, true: Tensor) -> Tensor:
    """1 - cosine of the two batches, each taken as one vector."""
    return 1 - functional.cosine_similarity(estimated.flatten(), true.flatten(), dim=0)


def triplet_loss(embedding: Tensor, true: Tensor) -> Tensor:
    """Embeddings [b, n] must be ordered as the motions [b, 6] are: by 1 - cosine from the first of every three. 0 for b < 3."""
    triples = torch.tensor(list(combinations(range(embedding.shape[0]), 3)), device=embedding.device).reshape(-1, 3)
    if not len(triples):
        return embedding.sum() * 0
    i, j, k = triples.T
    closer = torch.cosine_similarity(true[i], true[j], dim=1) - torch.cosine_similarity(true[i], true[k], dim=1)
    apart = (embedding[i] - embedding[j]).norm(dim=1) - (embedding[i] - embedding[k]).norm(dim=1)
    return functional.relu(torch.sign(closer) * apart + MARGIN).mean()


def moglo_loss(heads: list[Tensor], embedding: Tensor, true: Tensor, *, weighted: bool = True) -> Tensor:
    """The published sum. ``heads``: scaled motions [b, 4, 6] of both; ``embedding`` [b, 4, ...]; ``true`` [b, 4, 6], scaled."""
    weight = true if weighted else None
    errors = sum(motion_weighted_error(head, true, weight) + correlation_loss(head, true) for head in heads)
    return torch.as_tensor(errors) / 2 + TRIPLET_WEIGHT * triplet_loss(embedding[:, -1].flatten(1), true[:, -1])
