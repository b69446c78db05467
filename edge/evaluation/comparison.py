"""Estimated poses beside the tracked ones of the same sweep, always together with the baselines that need no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge.console import rounded
from edge.evaluation.measures import measure
from edge.messages import Geometry
from edge.motion.accuracy import TooShort, chain_of_poses, grid, repeated, steps_of
from edge.transform import Transform

COLUMNS = ["motion", "final_drift_rate_percent", "piece_drift_rate_percent", "final_drift_mm", "lpe_mm", "gpe_mm", "path_mm"]


def compare(
    name: str,
    tracked: Mapping[int, Transform],
    estimated: Mapping[int, Transform],
    geometry: Geometry,
    size: tuple[int, int],
) -> list[dict[str, Any]]:
    """Rows of measures: the estimate, no motion, and the sweep's own mean motion.

    ``tracked`` and ``estimated`` are ImageToReference by sequence number; frames with both count. ``size`` (columns, rows) is
    of the placed image. Empty where fewer than two frames count or the probe did not move.
    """
    common = sorted(tracked.keys() & estimated.keys())
    if len(common) < 2:
        return []
    true, found = (chain_of_poses([poses[n] for n in common], *size, geometry.spacing_mm) for poses in (tracked, estimated))
    chains = {name: found}
    chains["no motion"] = repeated(np.zeros(6), len(common))
    chains["own mean motion (not knowable)"] = repeated(steps_of(true).mean(axis=0), len(common))
    points = grid(*size, geometry.spacing_mm)
    try:
        measured = {row: measure(true, chain, points) for row, chain in chains.items()}
    except TooShort:
        return []
    return [{"motion": row} | {column: rounded(getattr(of, column), 3) for column in COLUMNS[1:]} for row, of in measured.items()]
