"""Freehand paths: steady progress along the body with changing speed, sway, tilts of a few degrees and a trembling hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.transform import Transform, first_image_to_reference, image_to_center, motion

SLOW_PERIODS_S = (2.0, 7.0)  # one sway of a hand takes this long


class BadTrajectory(SonosweepError):
    """A path was asked for that has no frames or no rate."""


@dataclass(frozen=True)
class Freehand:
    """How the probe is moved. Standard deviations over a long sweep; the first pose is always the origin of the path."""

    step_mm: float = 0.4  # mean elevational step from frame to frame; negative sweeps backwards
    step_variation: float = 0.15  # share of the mean step by which the speed changes, slowly
    sway_mm: tuple[float, float] = (0.8, 0.25)  # lateral, axial
    tilt_deg: tuple[float, float, float] = (1.2, 1.5, 0.8)  # about the lateral, axial and elevational axis
    tremor_mm: float = 0.02  # on each axis, independent from frame to frame


def freehand_path(
    frames: int,
    frames_per_s: float,
    image_size: tuple[int, int],
    spacing_mm: tuple[float, float],
    hand: Freehand | None = None,
    seed: int = 0,
) -> list[Transform]:
    """ImageToReference of every frame; the first is :func:`edge.transform.first_image_to_reference`.

    ``image_size`` is (width, height) in pixels, ``spacing_mm`` (lateral, axial). The path moves and turns the image's centre.
    """
    if frames < 1 or not frames_per_s > 0 or min(*image_size, *spacing_mm) <= 0:
        raise BadTrajectory(
            f"{frames} frames of {image_size} pixels of {spacing_mm} mm at {frames_per_s} frames/s make no path; "
            "every one of these must be above 0"
        )
    hand = hand or Freehand()
    random = np.random.default_rng([seed, 0x9A74])
    time_s = np.arange(frames) / frames_per_s

    speed = np.maximum(1 + hand.step_variation * _slow(time_s, random), 0.2)[:-1]
    elevational = hand.step_mm * np.concatenate([[0.0], np.cumsum(speed)])
    if frames > 1:
        elevational *= hand.step_mm * (frames - 1) / elevational[-1] if elevational[-1] else 0.0
    lateral, axial = (_from_rest(time_s, random, sd) for sd in hand.sway_mm)
    tremor_mm = hand.tremor_mm * random.standard_normal((frames, 3))
    translation_mm = np.stack([lateral, axial, elevational], 1) + tremor_mm - tremor_mm[0]
    rotation_rad = np.stack([_from_rest(time_s, random, np.deg2rad(sd)) for sd in hand.tilt_deg], 1)

    to_center = image_to_center(*image_size, spacing_mm)
    start = first_image_to_reference(spacing_mm) @ to_center.inverse()
    poses = []
    for shift_mm, turn_rad in zip(translation_mm, rotation_rad, strict=True):
        moved = Transform("Center", "Reference", start.matrix @ motion(shift_mm, turn_rad).matrix)
        poses.append(moved @ to_center)
    return poses


def _slow(time_s: NDArray[np.float64], random: np.random.Generator, waves: int = 4) -> NDArray[np.float64]:
    """A smooth random function of time of unit variance."""
    periods_s = random.uniform(*SLOW_PERIODS_S, waves)
    phases = random.uniform(0, 2 * np.pi, waves)
    weights = random.normal(size=waves)
    weights *= np.sqrt(2 / np.sum(weights**2))
    return np.asarray(np.cos(2 * np.pi * time_s[:, None] / periods_s + phases) @ weights)


def _from_rest(time_s: NDArray[np.float64], random: np.random.Generator, sd: float) -> NDArray[np.float64]:
    """:func:`_slow` that begins at 0."""
    values = _slow(time_s, random)
    return np.asarray(sd * (values - values[0]))
