"""Variants of one step graph beside each other on tracked sweeps: how far their steps are apart, and what it does to the path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.console import progress
from edge.evaluation.watch import Estimate, Watched, watch
from edge.motion import MotionSource
from edge.motion.accuracy import accuracy, grid
from edge.motion.card import Card, Parity
from edge.motion.network import NetworkMotion
from edge.motion.stepper import Stepper, Tensors
from export.pack import REFERENCE, runner_of

DIGITS = 5


class Row(NamedTuple):
    """One variant on one sweep beside FP32; see :class:`edge.motion.card.Parity`. ``place_mm``: how far their last images are apart."""

    variant: str
    sweep: str
    frames: int
    step_mm: float
    step_mm_largest: float
    step_deg: float
    step_deg_largest: float
    place_mm: float
    drift_percent: float
    drift_points: float
    lpe_mm: float
    lpe_ratio: float


def sources_of(card: Card, graphs: Mapping[str, bytes]) -> dict[str, MotionSource]:
    """Each graph as a source of motion, on ONNX Runtime."""
    steppers = {name: Stepper(card, runner_of(name, graph)) for name, graph in graphs.items()}
    return {name: NetworkMotion(card.name, f"ort {name}", card, stepper) for name, stepper in steppers.items()}


def compared(card: Card, graphs: Mapping[str, bytes], paths: Sequence[Path]) -> list[Row]:
    """Every tracked sweep seen by all variants, :data:`REFERENCE` among them: a row for each other one and sweep."""
    sources, rows = sources_of(card, graphs), list[Row]()
    for path in progress(paths, total=len(paths), label="comparing"):
        rows += rows_of(watch(path, sources))
    return rows


def steps_apart_mm(card: Card, graphs: Mapping[str, bytes], samples: Sequence[Tensors]) -> dict[str, float]:
    """How far each graph's translations are from those of :data:`REFERENCE`, root mean square, on the same inputs of single steps."""

    def moved_mm(name: str) -> NDArray[np.float64]:
        runner = runner_of(name, graphs[name])
        said = [runner.infer(sample)[card.motion.output].reshape(6) for sample in samples]
        return np.asarray(np.array(said, np.float64) * np.array(card.motion.scale))[:, :3]

    usual = moved_mm(REFERENCE)
    return {name: round(_rms(np.linalg.norm(moved_mm(name) - usual, axis=1)), DIGITS) for name in graphs if name != REFERENCE}


def rows_of(watched: Watched) -> list[Row]:
    """The variants on one sweep that they have seen."""
    width, height = watched.size
    points = grid(width, height, watched.geometry.spacing_mm)
    reference = watched.estimates[REFERENCE]
    ours = _placed(watched, reference)
    usual = accuracy(watched.true, ours, points)
    rows = []
    for variant, estimate in watched.estimates.items():
        if variant == REFERENCE:
            continue
        apart = estimate.steps - reference.steps
        mm, degrees = np.linalg.norm(apart[:, :3], axis=1), np.degrees(np.linalg.norm(apart[:, 3:], axis=1))
        chain = _placed(watched, estimate)
        found = accuracy(watched.true, chain, points)
        rows.append(
            Row(
                variant=variant,
                sweep=watched.path.name,
                frames=found.frames,
                step_mm=_rms(mm),
                step_mm_largest=float(mm.max()),
                step_deg=_rms(degrees),
                step_deg_largest=float(degrees.max()),
                place_mm=float(np.linalg.norm(chain[-1, :3, 3] - ours[-1, :3, 3])),
                drift_percent=usual.final_drift_rate_percent,
                drift_points=found.final_drift_rate_percent - usual.final_drift_rate_percent,
                lpe_mm=usual.lpe_mm,
                lpe_ratio=found.lpe_mm / usual.lpe_mm,
            )
        )
    return rows


def summary(rows: Iterable[Row], variant: str, measured_on: str) -> Parity:
    """Of one variant, for the card: the mean over sweeps, the largest of all."""
    mine = [row for row in rows if row.variant == variant]

    def mean(name: str) -> float:
        return round(float(np.mean([getattr(row, name) for row in mine])), DIGITS)

    def largest(name: str) -> float:
        return round(max(float(getattr(row, name)) for row in mine), DIGITS)

    return Parity(
        measured_on=measured_on,
        frames=sum(row.frames for row in mine),
        step_mm=mean("step_mm"),
        step_mm_largest=largest("step_mm_largest"),
        step_deg=mean("step_deg"),
        step_deg_largest=largest("step_deg_largest"),
        drift_percent=mean("drift_percent"),
        drift_points=mean("drift_points"),
        lpe_ratio=mean("lpe_ratio"),
    )


def shown(parity: Parity, variant: str) -> dict[str, Any]:
    """A row for a table."""
    return {
        "variant": variant,
        "step mm": parity.step_mm,
        "largest": parity.step_mm_largest,
        "step deg": parity.step_deg,
        "largest deg": parity.step_deg_largest,
        "FP32 drift %": parity.drift_percent,
        "points more": parity.drift_points,
        "LPE ratio": parity.lpe_ratio,
    }


def named(paths: Sequence[Path]) -> str:
    """What figures of these sweeps were measured on."""
    return ", ".join(path.name for path in paths) if len(paths) < 4 else f"{len(paths)} sweeps, {paths[0].name} to {paths[-1].name}"


def _placed(watched: Watched, estimate: Estimate) -> Any:
    return estimate.turned(watched.direction).chain


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(values**2)))
