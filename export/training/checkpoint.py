"""Checkpoints of training: one file, the old or the new one whatever happens in between, read without running anything in it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from edge.atomic import replacing
from edge.errors import SonosweepError

FORMAT = 1
NEEDED = {"format", "recipe", "step", "seconds", "module", "average", "optimiser", "history", "finished"}


class CheckpointUnfit(SonosweepError):
    """A checkpoint cannot be read, or belongs to other training."""


def checkpoint_path(bundle: Path) -> Path:
    """Beside ``small.zip`` or ``small/``: ``small.checkpoint.pt``."""
    return bundle.with_name(f"{bundle.name.removesuffix('.zip')}.checkpoint.pt")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts), replacing what was there only when all is on the disk."""
    with replacing(path) as out:
        torch.save({"format": FORMAT, **state}, out)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state in ``path``, on the CPU; ``CheckpointUnfit`` says what is wrong."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as wrong:
        raise CheckpointUnfit(f"{path}: there is no checkpoint; it lies beside the bundle that training wrote") from wrong
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as wrong:
        raise CheckpointUnfit(
            f"{path}: is no checkpoint: {(str(wrong).splitlines() or ['damaged'])[0]}; train again or copy it again"
        ) from wrong
    if not isinstance(state, dict) or state.get("format") != FORMAT or not state.keys() >= NEEDED:
        raise CheckpointUnfit(f"{path}: is no checkpoint of this version of sonosweep; train again")
    return dict(state)


def mean_weights(weights: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of several networks' weights by name; of one, itself. ``CheckpointUnfit`` where they are not of one kind of network.

    Networks that were trained on from the same weights can be averaged (Wortsman et al., Model soups, ICML 2022).
    """
    shapes = [{name: value.shape for name, value in one.items()} for one in weights]
    if any(one != shapes[0] for one in shapes):
        raise CheckpointUnfit("the checkpoints hold networks of different shapes, which have no mean; name those of one network")
    first = weights[0]
    return {
        name: torch.stack([one[name] for one in weights]).mean(0) if value.is_floating_point() else value for name, value in first.items()
    }
