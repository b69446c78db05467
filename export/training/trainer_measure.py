"""How well a network in training does on sweeps kept aside: the field's measures, beside the constant motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.motion.accuracy import TooShort, accuracy, chain_of_steps, grid, piece_drift_rate_percent, repeated
from edge.motion.card import ErrorMemory
from edge.motion.uncertainty import fit_memory
from export.training.sweeps import TrainingSweep

NAMES = ("tx", "ty", "tz", "rx", "ry", "rz")
WITHIN = {0.68: 0.99446, 0.95: 1.95996}  # half-width of a Gaussian's interval in standard deviations


@dataclass(frozen=True)
class Measured:
    """One sweep: final drift rate and its mean over 50-step pieces (%), LPE (mm), the same of the constant motion given.

    ``correlation`` per value of the motion; ``within``: share of errors inside the 68 % and the 95 % interval.
    """

    sweep: str
    frames: int
    path_mm: float
    final_drift_rate_percent: float
    piece_drift_rate_percent: float
    lpe_mm: float
    constant: dict[str, float]
    correlation: dict[str, float]
    within: dict[str, float]

    def row(self) -> dict[str, Any]:
        """For a table."""
        return {
            "sweep": self.sweep,
            "FDR %": self.final_drift_rate_percent,
            "piece %": self.piece_drift_rate_percent,
            "LPE mm": self.lpe_mm,
            "const FDR": self.constant["final_drift_rate_percent"],
            "const piece": self.constant["piece_drift_rate_percent"],
            "const LPE": self.constant["lpe_mm"],
            **self.correlation,
            **self.within,
        }


@torch.no_grad()
def estimate(module: Any, sweep: TrainingSweep) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Motions (mm, rad) and standard deviations [n - 1, 6] (the same units), the whole sweep as one sequence."""
    device, scale = next(module.parameters()).device, module.get_buffer("output_scale")
    module.eval()
    seen = module.see(torch.from_numpy(sweep.windows).to(device))
    motion, log_variance = module(seen[None], torch.from_numpy(sweep.intervals).to(device)[None])
    deviation = torch.exp(log_variance / 2) * scale
    return motion[0].double().cpu().numpy(), deviation[0].double().cpu().numpy()


def measure(module: nn.Module, sweep: TrainingSweep, constant: NDArray[np.float64]) -> Measured:
    """``constant`` [6]: the motion of the baseline, of the training or adaptation sweeps and never of this one."""
    found, deviation = estimate(module, sweep)
    return compare(sweep, found, deviation, constant)


def compare(sweep: TrainingSweep, found: NDArray[np.float64], deviation: NDArray[np.float64], constant: NDArray[np.float64]) -> Measured:
    """The measures of motions ``found`` [n - 1, 6] with their standard deviations."""
    true = sweep.motion.astype(np.float64)
    height, width = sweep.windows.shape[1:]
    points = grid(width, height, sweep.spacing_mm)
    chains = [chain_of_steps(true), chain_of_steps(found), repeated(constant, len(true) + 1)]
    ours, baseline = (accuracy(chains[0], chain, points) for chain in chains[1:])
    pieces = [_pieces(chains[0], chain) for chain in chains[1:]]
    errors = np.abs(found - true) / deviation
    return Measured(
        sweep=sweep.name,
        frames=ours.frames,
        path_mm=ours.path_mm,
        final_drift_rate_percent=ours.final_drift_rate_percent,
        piece_drift_rate_percent=pieces[0],
        lpe_mm=ours.lpe_mm,
        constant={
            "final_drift_rate_percent": baseline.final_drift_rate_percent,
            "piece_drift_rate_percent": pieces[1],
            "lpe_mm": baseline.lpe_mm,
        },
        correlation={name: _correlation(found[:, i], true[:, i]) for i, name in enumerate(NAMES)},
        within={f"{share:.0%}": float((errors < half).mean()) for share, half in WITHIN.items()},
    )


def mean_of(measured: Sequence[Measured], name: str) -> Measured:
    """The mean of several sweeps' figures, as one row called ``name``."""

    def mean(values: list[float]) -> float:
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    return Measured(
        sweep=name,
        frames=sum(m.frames for m in measured),
        path_mm=mean([m.path_mm for m in measured]),
        final_drift_rate_percent=mean([m.final_drift_rate_percent for m in measured]),
        piece_drift_rate_percent=mean([m.piece_drift_rate_percent for m in measured]),
        lpe_mm=mean([m.lpe_mm for m in measured]),
        constant={key: mean([m.constant[key] for m in measured]) for key in measured[0].constant},
        correlation={key: mean([m.correlation[key] for m in measured]) for key in NAMES},
        within={key: mean([m.within[key] for m in measured]) for key in measured[0].within},
    )


@dataclass(frozen=True)
class Trust:
    """What errors on unseen sweeps teach: ``factors`` [6] that stated deviations lack, and how alike the errors of near steps are."""

    factors: NDArray[np.float64]
    memory: ErrorMemory


@torch.no_grad()
def trust_errors(module: nn.Module, sweeps: Sequence[TrainingSweep], *, scale: bool = True) -> Trust:
    """What :func:`widen` needs so that the intervals of 68 % and of 95 % hold about their shares of the errors on ``sweeps``, per value.

    Errors have heavier tails than a Gaussian: the factor is the mean (of logarithms) of what either interval wants, so the narrow one
    holds a little more than its share and the wide one a little less. A network is surer of what it was
    trained on than of what it meets; ``sweeps`` are best kept out of training. Without ``scale`` the factors are 1.
    """
    errors = []
    for sweep in sweeps:
        found, deviation = estimate(module, sweep)
        errors.append((found - sweep.motion) / deviation)
    factors = np.ones(6)
    if scale:
        sizes = np.abs(np.concatenate(errors))
        factors = np.exp(np.mean([np.log(np.quantile(sizes, share, axis=0) / half) for share, half in WITHIN.items()], axis=0))
    return Trust(factors, fit_memory([one / factors for one in errors]))


@torch.no_grad()
def widen(module: nn.Module, factors: NDArray[np.float64]) -> None:
    """Multiply the deviations that ``module`` states by ``factors`` [6]."""
    learned = dict(module.named_parameters())
    bias = learned["log_variance"] if "log_variance" in learned else learned["head.bias"][6:]  # MoGLo's constants; the head's last six
    bias += torch.as_tensor(2 * np.log(factors), dtype=bias.dtype, device=bias.device)


def _pieces(true: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    try:
        return piece_drift_rate_percent(true, found)
    except TooShort:
        return float("nan")


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if a.std() < 1e-12 or b.std() < 1e-12:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
