"""Proof that the training source behaves as speckle, hands and scanners do: measured values beside the laws and the real ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.errors import SonosweepError
from edge.files import open_sweep
from edge.motion.accuracy import Matrices, chain_of_poses
from export.training.held_out import held_out_sweep
from export.training.likeness import (
    DISTANCES_MM,
    REAL_AXIAL,
    REAL_LATERAL,
    REAL_PEAK,
    REAL_ZERO_SHIFT,
    autocorrelation,
    high_passed,
    peaks,
    textured,
    zero_shift,
)
from export.training.paths import freehand_motion
from export.training.source import draw_hand
from export.training.speckle import SpeckleBank, Spread
from export.training.sweeps import Windows


class NotComparable(SonosweepError):
    """A sweep cannot be held against the simulated ones."""


Row = dict[str, Any]
RAYLEIGH_SNR = (np.pi / (4 - np.pi)) ** 0.5  # 1.913: mean over standard deviation of fully developed speckle's amplitude
DOF = ("tx mm", "ty mm", "tz mm", "rx deg", "ry deg", "rz deg")


def speckle_rows(seed: int = 0, points: int = 60_000) -> list[Row]:
    """Elevational decorrelation at three depths against exp(-d^2 / 2 s^2), and the SNR of the amplitude of one look."""
    spread = Spread(0.13, 0.26, 1.2, 20.0, 25.0, 50.0, looks=1)
    bank = SpeckleBank(spread, 43.2, seed, cells=(96, 56))
    random = np.random.default_rng(seed)
    rows = []
    for depth in (5.0, 20.0, 38.0):
        x, z = (torch.as_tensor(random.uniform(0, 200, points), dtype=torch.float32)[None] for _ in range(2))
        y = torch.as_tensor(random.uniform(depth - 0.5, depth + 0.5, points), dtype=torch.float32)[None]
        start = bank.power(x, y, z)
        amplitude = start.sqrt()
        for distance in (0.3, 0.6, 1.0, 1.5, 2.5):
            measured = np.corrcoef(start[0].numpy(), bank.power(x, y, z + distance)[0].numpy())[0, 1]
            law = float(np.exp(-(distance**2) / (2 * spread.elevational_at(np.array(depth)) ** 2)))
            rows.append({"what": f"decorrelation, {depth:.0f} mm deep, {distance} mm on", "measured": float(measured), "expected": law})
        rows.append({"what": f"SNR, {depth:.0f} mm deep", "measured": float(amplitude.mean() / amplitude.std()), "expected": RAYLEIGH_SNR})
    return rows


def step_rows(sweeps: int = 300, frames: int = 36, seed: int = 0) -> list[Row]:
    """Histogram of the steps of random hands: quantiles in mm and degrees."""
    steps = []
    for index in range(sweeps):
        random = np.random.default_rng((seed, index))
        steps.append(freehand_motion(frames, draw_hand(random), random))
    motion = np.concatenate(steps)
    motion[:, 3:] = np.rad2deg(motion[:, 3:])
    quantiles = (1, 10, 25, 50, 75, 90, 99)
    return [
        {"step": name, "mean": float(column.mean()), "sd": float(column.std())}
        | {f"{q} %": float(np.percentile(column, q)) for q in quantiles}
        for name, column in zip(DOF, motion.T, strict=True)
    ]


def image_rows(sweeps: Iterable[tuple[Windows, Matrices]], seed: int = 0) -> list[Row]:
    """Likeness of images (0.108 mm pixels) with their chains to the leg's: texture in the plane, zero-shift and peak correlation."""
    random = np.random.default_rng(seed)
    texture: list[list[float]] = []
    still: dict[int, list[float]] = {apart: [] for apart in REAL_ZERO_SHIFT}
    pairs: list[tuple[float, float]] = []
    for images, chain in sweeps:
        high = high_passed(images)
        mask = textured(images, high)
        along = [(k, 0) for k in (1, 2, 3)] + [(0, k) for k in (1, 2, 3)]
        texture.append([autocorrelation(high, mask, *shift) for shift in along])
        for apart in still:
            still[apart] += zero_shift(high, chain, apart)
        pairs += peaks(high, chain, random)
    names = [f"autocorrelation, {axis} {k} pixels" for axis in ("axial", "lateral") for k in (1, 2, 3)]
    rows: list[Row] = [
        {"what": name, "measured": float(value), "real": real}
        for name, value, real in zip(names, np.median(texture, 0), REAL_AXIAL + REAL_LATERAL, strict=True)
    ]
    for apart, values in still.items():
        if values:
            what = f"zero-shift correlation, {apart} frames"
            rows.append({"what": what, "measured": float(np.mean(values)), "real": REAL_ZERO_SHIFT[apart]})
    nearest = np.array([int(np.argmin(np.abs(np.log(np.array(DISTANCES_MM) / max(d, 0.05))))) for d, _ in pairs])
    for i, (distance, real) in enumerate(zip(DISTANCES_MM, REAL_PEAK, strict=True)):
        if (nearest == i).any():
            measured = float(np.mean([peak for (_, peak), at in zip(pairs, nearest, strict=True) if at == i]))
            rows.append({"what": f"peak correlation, {distance} mm on", "measured": measured, "real": real})
    return rows


def tracked_images(paths: Iterable[Path]) -> Iterable[tuple[Windows, Matrices]]:
    """The images of tracked 8-bit sweeps of about 0.108 mm pixels with their chains, one by one."""
    for path in paths:
        frames = [f for f in open_sweep(path).frames() if f.modality == "bmode" and f.pose is not None]
        geometry = frames[0].geometry if frames else None
        if geometry is None or frames[0].pixels.dtype != np.uint8 or not all(0.095 <= s <= 0.12 for s in geometry.spacing_mm):
            raise NotComparable(f"{path}: likeness is measured on tracked 8-bit images of 0.095 to 0.12 mm pixels; give such a sweep")
        poses = [pose for f in frames if (pose := f.pose) is not None]
        chain = chain_of_poses(poses, geometry.width, geometry.height, geometry.spacing_mm)
        yield np.stack([f.pixels for f in frames]), chain


def held_out_images(sweeps: int, frames: int = 24) -> Iterable[tuple[Windows, Matrices]]:
    """The beginnings of the first held-out sweeps, one by one."""
    for index in range(sweeps):
        sweep = held_out_sweep(index, frames)
        yield sweep.images, sweep.chain
