"""The mean motion of tracked sweeps: the preset of the constant-motion baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.tracked import TrackedSweep
from edge.motion.card import six
from edge.motion.constant import Preset


def mean_motion(sweeps: Sequence[TrackedSweep]) -> Preset:
    """Mean and standard deviation over all steps of all sweeps, each sweep in canonical direction."""
    steps = np.concatenate([sweep.canonical_steps for sweep in sweeps])
    intervals = np.concatenate([np.diff(sweep.timestamps_ns)[sweep.adjacent] for sweep in sweeps])
    return Preset(
        motion=six(steps.mean(0)),
        spread=six(steps.std(0)),
        steps=len(steps),
        frame_interval_s=float(np.median(intervals)) / 1e9,
        sweeps=tuple(sweep.path.name for sweep in sweeps),
    )
