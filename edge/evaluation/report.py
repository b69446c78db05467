"""One sweep's report: every measure of the estimate beside the same measures of the baselines, as values that JSON knows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge.evaluation.coverage import coverage
from edge.evaluation.landmarks import read_landmarks
from edge.evaluation.measures import average, measure
from edge.evaluation.volumes import SPACING_MM, similarity, volume_along
from edge.evaluation.watch import Estimate, Watched
from edge.motion.accuracy import grid
from edge.motion.card import ErrorMemory


def report(
    watched: Watched,
    name: str,
    estimate: Estimate,
    baselines: dict[str, Estimate],
    direction: str = "",
    spacing_mm: float = SPACING_MM,
    memory: ErrorMemory | None = None,
) -> dict[str, Any]:
    """What ``sonosweep evaluate --json`` says of one sweep. ``name`` says whose estimate it is.

    ``memory`` says how alike the errors of the estimate's steps are. ``direction`` turns every canonical path; empty: as the tracked
    poses go. ``TooShort`` where the probe did not move.
    """
    turned = direction or watched.direction
    points = grid(*watched.size, watched.geometry.spacing_mm)
    landmarks = read_landmarks(watched)
    truth = volume_along(watched, watched.true, spacing_mm)

    def measured(one: Estimate) -> dict[str, Any]:
        chain = one.turned(turned).chain
        alike, overlap = similarity(truth, volume_along(watched, chain, spacing_mm))
        further = {"volume_ncc": alike, "volume_overlap": overlap, "uncertainty": coverage(watched.true, one.turned(turned), memory)}
        return asdict(measure(watched.true, chain, points, landmarks)) | further

    ours = measured(estimate)
    beside = {other: measured(one) for other, one in baselines.items()}
    return {
        "sweep": watched.path.name,
        "motion": name,
        "direction": turned,
        "direction_source": "given" if direction else "tracked",
        "ended": watched.ended,
        **ours,
        "lpe_of_constant": ours["lpe_mm"] / beside["constant"]["lpe_mm"] if beside["constant"]["lpe_mm"] else None,
        "baselines": beside,
    }


def mean_report(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over sweeps, of the estimate and of each baseline."""
    numbers = [{name: value for name, value in one.items() if not isinstance(value, str)} for one in reports]
    return {"sweeps": len(reports), **average(numbers)}
