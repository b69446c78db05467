"""What a volume must hold, computed the slow way: float64, straight from the definition, sharing nothing with the product."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np


@dataclass
class Oracle:
    """A dense volume of ``shape`` (i, j, k) voxels whose first voxel is ``first``. All positions in mm, all sums in float64.

    ``place`` takes the product's arguments. ``doubtful`` marks voxels that a rounding of 1/400 pixel or 1/1000 slab could turn.
    """

    first: tuple[int, int, int]
    shape: tuple[int, int, int]
    spacing_mm: float
    compounding: str
    half_width_mm: float
    max_gap_mm: float
    before: dict | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.total, self.weight, self.between = (np.zeros(self.shape) for _ in range(3))
        self.state = np.zeros(self.shape, int)
        self.doubtful = np.zeros(self.shape, bool)
        index = np.moveaxis(np.indices(self.shape), 0, -1) + np.array(self.first)
        self.points = index * self.spacing_mm

    def look(self, pixels, matrix, valid):
        """How every voxel sees one frame: value, signed distance in mm, whether the image holds it, whether that is doubtful."""
        a, b, origin = matrix[:3, 0], matrix[:3, 1], matrix[:3, 3]
        normal = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
        solved = np.linalg.solve(np.stack([a, b, normal], 1), (self.points - origin).reshape(-1, 3).T)
        u, v, distance = (row.reshape(self.shape) for row in solved)
        height, width = pixels.shape
        on = (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
        edge = np.minimum.reduce([abs(u), abs(u - width + 1), abs(v), abs(v - height + 1)])
        doubt = edge < 2.5e-3  # the product rounds positions to 1/256 pixel, and takes what rounds into the image
        c, r = np.clip(np.floor(u), 0, width - 1).astype(int), np.clip(np.floor(v), 0, height - 1).astype(int)
        value, all_valid = np.zeros(self.shape), np.ones(self.shape, bool)
        for dc, dr in product((0, 1), repeat=2):
            column, row = np.minimum(c + dc, width - 1), np.minimum(r + dr, height - 1)
            share = (u - c if dc else 1 - (u - c)) * (v - r if dr else 1 - (v - r))
            value += share * pixels[row, column]
            if valid is not None:
                all_valid &= valid[row, column] != 0
        if valid is not None:
            doubt |= (abs(u - np.round(u)) < 2.5e-3) | (abs(v - np.round(v)) < 2.5e-3)
        return {"value": value, "distance": distance, "on": on & all_valid, "doubt": doubt, "normal": normal}

    def place(self, pixels, matrix, valid=None, bridge=False):
        """One frame, by the definitions of the slab, its weights and the gap."""
        now, half = self.look(pixels, matrix, valid), self.half_width_mm
        near = abs(now["distance"])
        hit = now["on"] & (near < half)
        self.doubtful |= (abs(near - half) < 1e-3 * half) | (now["doubt"] & (near < 1.001 * half))
        steps = 16 * near / half
        weight = np.where(hit, 16 - np.floor(steps), 0)
        self.doubtful |= hit & (np.round(steps) > 0) & (abs(steps - np.round(steps)) < 5e-4)
        if self.compounding == "mean":
            self.total += weight * now["value"] * hit
            self.weight += weight
        else:
            old = np.where(self.weight > 0, self.total, -1)
            fresh = np.maximum(old, now["value"]) if self.compounding == "maximum" else now["value"]
            self.total = np.where(hit, fresh, self.total)
            self.weight = np.where(hit, 1, self.weight)
        if bridge and self.before is not None:
            self.bridge(now, self.before)
        self.state[self.weight > 0] = 1
        self.before = now

    def bridge(self, now, before):
        """Voxels between both planes, outside both slabs, where these are at most ``max_gap_mm`` apart."""
        d, e, half = now["distance"], before["distance"], self.half_width_mm
        apart = abs(d) + abs(e)
        inside = now["on"] & before["on"] & (d * e < 0) & (abs(d) >= half) & (abs(e) >= half) & (apart <= self.max_gap_mm)
        inside &= now["normal"] @ before["normal"] > 0
        value = (now["value"] * abs(e) + before["value"] * abs(d)) / np.maximum(apart, 1e-9)
        old = np.where(self.state == 2, self.between, -1)
        fresh = np.maximum(old, value) if self.compounding == "maximum" else value
        wanted = inside & (self.weight == 0)
        self.between = np.where(wanted, fresh, self.between)
        self.state[wanted] = 2
        self.doubtful |= (abs(abs(e) - half) < 1e-3 * half) | (abs(apart - self.max_gap_mm) < 1e-3) | now["doubt"] | before["doubt"]

    def intensity(self):
        """Float64 [i, j, k]."""
        mean = self.total / np.where(self.weight > 0, self.weight, 1)
        return np.where(self.state == 1, mean, np.where(self.state == 2, self.between, 0))


def filled(intensity, state, radius, ratio):
    """Hole filling by its definition on dense [i, j, k]: (intensity float64, state) with 3 where a hole was filled."""
    known = (state == 1) | (state == 2)
    sigma = radius / 2
    weights = np.maximum(1, np.round(16 * np.exp(-((np.arange(radius + 1) / sigma) ** 2) / 2)))
    padded, values = np.pad(known, radius), np.pad(np.where(known, intensity, 0), radius)
    total, weight, hits = (np.zeros(known.shape) for _ in range(3))
    for offset in product(range(-radius, radius + 1), repeat=3):
        there = tuple(slice(radius + d, radius + d + n) for d, n in zip(offset, known.shape, strict=True))
        share = np.prod(weights[np.abs(offset)]) * padded[there]
        total, weight, hits = total + share * values[there], weight + share, hits + padded[there]
    enough = ~known & (hits >= ratio * (2 * radius + 1) ** 3 - 1e-9)
    filled = total / np.maximum(weight, 1)
    return np.where(enough, filled, np.where(known, intensity, 0)), np.where(enough, 3, np.where(known, state, 0))


def remapped(pixels, index, fx, fy):
    """Bilinear look-up in float64."""
    flat, width = pixels.reshape(-1).astype(float), pixels.shape[1]
    at = np.maximum(index, 0)
    u, v = fx / 256, fy / 256
    mixed = (flat[at] * (1 - u) + flat[at + 1] * u) * (1 - v) + (flat[at + width] * (1 - u) + flat[at + width + 1] * u) * v
    return np.where(index >= 0, mixed, 0)
