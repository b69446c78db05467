"""What a motion estimate has to beat: no motion, a constant motion, and classical speckle decorrelation without any learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.evaluation.watch import Estimate, Floats, NothingToCompare, Watched, watch
from edge.motion.constant import Preset
from edge.motion.decorrelation import Curve, Seen, plain_curve
from edge.motion.decorrelation_fit import FEWEST_STEPS, SpeckleListener, fit_curve

USUAL_MM_S = 10.0  # where nothing at all is known of the hand


def still(watched: Watched) -> Estimate:
    """The probe never moves."""
    return _estimate(np.zeros((len(watched.true) - 1, 6)))


def constant(watched: Watched, step: Floats | None) -> Estimate:
    """The canonical motion ``step`` [6] once per B-mode frame (lost ones too); without one, the usual speed times the probe's clock."""
    if step is None:
        steps = np.zeros((len(watched.true) - 1, 6))
        steps[:, 2] = USUAL_MM_S * np.diff(watched.timestamps_ns) / 1e9
        return _estimate(steps)
    return _estimate(watched.elapsed[:, None] * step)


def constant_steps(sweeps: Sequence[Watched], preset: Preset | None, adaptation: Sequence[Watched]) -> tuple[list[Floats | None], str]:
    """The constant motion to compare each sweep with, knowable without that sweep, and where it comes from.

    A preset, else the mean step of the adaptation sweeps, else of the other sweeps; None where there is no other. ``NothingToCompare``
    where no two frames of those follow each other.
    """
    if preset is not None:
        return [np.array(preset.motion)] * len(sweeps), "preset"
    if adaptation:
        return [_mean_step(adaptation)] * len(sweeps), f"mean of {len(adaptation)} adaptation sweeps"
    if len(sweeps) > 1:
        return [_mean_step([other for other in sweeps if other is not sweep]) for sweep in sweeps], "mean of the other sweeps"
    return [None], f"{USUAL_MM_S:g} mm/s"


def listen(path: Path, plus_config: Path | None = None, probe: Path | None = None) -> tuple[Watched, list[Seen]]:
    """A tracked sweep with what its speckle shows in each frame after the first: what a curve is fitted to."""
    listener = SpeckleListener()
    return watch(path, {"listener": listener}, plus_config, probe), listener.seen


def decorrelation_curve(curve: Curve | None, adaptation: Sequence[tuple[Watched, list[Seen]]]) -> tuple[Curve, str]:
    """The given curve, else one fitted to the adaptation sweeps, else (none, or too few steps) the simulator's law; and which it is."""
    if curve is not None:
        return curve, "curve"
    if sum(len(_direct_steps(sweep)) for sweep, _ in adaptation) < FEWEST_STEPS:
        return plain_curve(), "law of the simulator"
    return fitted_curve(adaptation), f"fitted to {len(adaptation)} adaptation sweeps"


def fitted_curve(adaptation: Sequence[tuple[Watched, list[Seen]]]) -> Curve:
    """A curve from tracked sweeps. Steps over lost frames or frames without a pose do not count."""
    seen: list[Seen] = []
    steps = []
    for sweep, shown in adaptation:
        direct = np.flatnonzero(sweep.elapsed == 1)
        steps.append(sweep.canonical_steps[direct])
        seen += [shown[sweep.watched_index[at + 1] - 1] for at in direct]
    if len(seen) < FEWEST_STEPS:
        raise NothingToCompare(f"{len(seen)} steps between tracked frames fit no curve; give sweeps with {FEWEST_STEPS} or more")
    return fit_curve(seen, np.concatenate(steps), [sweep.path.name for sweep, _ in adaptation])


def _mean_step(sweeps: Sequence[Watched]) -> Floats:
    steps = np.concatenate([_direct_steps(sweep) for sweep in sweeps])
    if not len(steps):
        named = ", ".join(sweep.path.name for sweep in sweeps)
        raise NothingToCompare(
            f"{named}: no two tracked ultrasound frames follow each other directly; give the constant motion by --preset"
        )
    return np.asarray(steps.mean(0))


def _direct_steps(sweep: Watched) -> Floats:
    """Canonical steps between B-mode frames that follow each other directly."""
    return np.asarray(sweep.canonical_steps[sweep.elapsed == 1])


def _estimate(steps: Floats) -> Estimate:
    return Estimate(steps, np.full_like(steps, np.nan))
