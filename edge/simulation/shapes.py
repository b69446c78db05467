"""The analytic shapes a phantom is made of: smooth random waves, soft edges, a vessel, cysts, wires, a bone.

Every edge is a transition of about 0.3 mm, so that nothing finer than 0.25 mm voxels can hold is ever drawn. ``x, y, z`` are
float32 arrays of one shape: lateral, axial (depth) and elevational, in mm; signed distances are negative inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
EDGE_MM = 0.3


def inside(distance_mm: Floats, edge_mm: float = EDGE_MM) -> Floats:
    """1 inside (negative distance), 0 outside, soft over about ``edge_mm`` to either side."""
    return np.asarray(0.5 - 0.5 * np.tanh(distance_mm * (1 / edge_mm)))


def ridge(distance_mm: Floats, sd_mm: float = EDGE_MM) -> Floats:
    """1 at distance 0, falling off as a Gaussian to both sides."""
    return np.asarray(np.exp(np.square(distance_mm) * (-0.5 / sd_mm**2)))


@dataclass(frozen=True)
class Waves:
    """A smooth random function of position with unit variance: a sum of plane waves. ``waves`` is [n, 4]: kx, ky, kz, phase."""

    waves: NDArray[np.float64]

    @classmethod
    def drawn(cls, random: np.random.Generator, wavelengths_mm: tuple[float, float, float], count: int) -> Waves:
        """``wavelengths_mm`` along x, y, z; ``inf`` for a function that does not depend on that axis."""
        wave = random.uniform(0.6, 1.3, (count, 4)) * random.choice([-1, 1], (count, 4))
        wave[:, :3] *= 2 * np.pi / np.array(wavelengths_mm)
        wave[:, 3] = random.uniform(0, 2 * np.pi, count)
        return cls(wave)

    def at(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Values at positions, mean 0 and variance 1 over a large region."""
        total = np.zeros_like(x)
        for kx, ky, kz, phase in self.waves.tolist():
            angle = x * kx + phase
            if ky:
                angle += y * ky
            if kz:
                angle += z * kz
            total += np.cos(angle, out=angle)
        return total * float(np.sqrt(2 / len(self.waves)))


@dataclass(frozen=True)
class Tube:
    """One limb of a vessel: a centre line x(z), y(z) that bends from ``fork_mm`` on by ``slope`` (mm per mm), and winds."""

    x_mm: float
    y_mm: float
    radius_mm: float
    wind_mm: tuple[float, float]
    wavelength_mm: float
    fork_mm: float
    slope: tuple[float, float]

    def centre(self, z: Floats) -> tuple[Floats, Floats]:
        """x, y of the centre line, mm."""
        past = (z - self.fork_mm) * 0.5
        ramp = past + np.sqrt(past * past + 1)  # max(0, z - fork), rounded over 2 mm
        turn = z * float(2 * np.pi / self.wavelength_mm)
        x = self.x_mm + self.wind_mm[0] * np.sin(turn) + self.slope[0] * ramp
        y = self.y_mm + self.wind_mm[1] * np.cos(turn) + self.slope[1] * ramp
        return np.asarray(x, np.float32), np.asarray(y, np.float32)

    def distance(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats]:
        """Signed distance to the wall, mm, and how squarely the wall faces the beam, 0..1."""
        center_x, center_y = self.centre(z)
        dx, dy = x - center_x, y - center_y
        from_axis = np.sqrt(dx * dx + dy * dy + 1e-6)
        return np.asarray(from_axis - self.radius_mm), np.asarray(np.square(dy / from_axis))


@dataclass(frozen=True)
class Cyst:
    """An ellipsoid without echoes, with brighter tissue behind it."""

    center_mm: tuple[float, float, float]
    radius_mm: tuple[float, float, float]

    def distance(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats]:
        """Signed distance to its surface, mm, and the enhancement of what lies there, 0..1."""
        cx, cy, cz = self.center_mm
        rx, ry, rz = self.radius_mm
        across = np.square((x - cx) * (1 / rx)) + np.square((z - cz) * (1 / rz))
        depth = y - cy
        whole = np.sqrt(across + np.square(depth * (1 / ry)) + 1e-6)
        behind = np.maximum(depth, 0)
        grown = 0.5 + 0.5 * np.tanh((depth - ry) * (1 / 1.5))
        return (whole - 1) * min(self.radius_mm), grown * np.exp(behind * (-1 / 14)) * inside(across - 0.8, 0.3)


@dataclass(frozen=True)
class Wire:
    """A bright straight thread through ``point_mm`` along ``direction`` (any length, not zero)."""

    point_mm: tuple[float, float, float]
    direction: tuple[float, float, float]

    def distance(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Distance to the thread, mm."""
        u = np.array(self.direction) / np.linalg.norm(self.direction)
        dx, dy, dz = x - self.point_mm[0], y - self.point_mm[1], z - self.point_mm[2]
        along = dx * float(u[0]) + dy * float(u[1]) + dz * float(u[2])
        return np.asarray(np.sqrt(np.maximum(dx * dx + dy * dy + dz * dz - along * along, 0)))


@dataclass(frozen=True)
class Bone:
    """A dome whose top is at ``top_mm`` and which curves away: a bright surface with a shadow below it."""

    top_mm: tuple[float, float, float]
    curvature_radius_mm: tuple[float, float]  # lateral, elevational

    def depth_below(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """How far below the surface, along the beam, mm; negative above it."""
        tx, ty, tz = self.top_mm
        rx, rz = self.curvature_radius_mm
        return np.asarray(y - ty - np.square(x - tx) * (0.5 / rx) - np.square(z - tz) * (0.5 / rz))
