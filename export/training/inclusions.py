"""What lies in random tissue: vessels, cysts and lumps, bone with its shadow. Each draws itself into an echo map in dB.

Echo maps and points are [frames, H, W]; beams run along +y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export.training.fields import Points, Random, Waves, fine


@dataclass(frozen=True)
class Tube:
    """A vessel that winds along the sweep, straight across it or anything between."""

    x_mm: float
    y_mm: float
    slope: tuple[float, float]
    wind: tuple[Waves, Waves]
    wind_mm: float
    radius_mm: float
    lumen_db: float
    wall_db: float

    def draw(self, echo: Tensor, p: Points, coarse: Points) -> None:
        """Lumen and walls into ``echo``."""
        across = (1 + self.slope[0] ** 2) ** -0.5
        cx = fine(self.x_mm + self.slope[0] * coarse.z + self.wind_mm * self.wind[0].at(coarse), p.x)
        cy = fine(self.y_mm + self.slope[1] * coarse.z + self.wind_mm * self.wind[1].at(coarse), p.x)
        dx, dy = (p.x - cx) * across, p.y - cy
        distance = (dx.square() + dy.square() + 1e-4).sqrt_()
        facing = (dy / distance).square()
        distance -= self.radius_mm
        echo += (self.lumen_db - echo) * torch.sigmoid(distance * -7)
        echo += self.wall_db * (0.25 + 0.75 * facing) * torch.exp((distance - 0.3).square() * -5)


@dataclass(frozen=True)
class Ball:
    """A cyst or a lump: an ellipsoid, with brighter tissue behind where sound passes it easily."""

    center_mm: tuple[float, float, float]
    radius_mm: tuple[float, float, float]
    echo_db: float
    behind_db: float

    def draw(self, echo: Tensor, p: Points) -> None:
        """Into ``echo``; frames that do not meet it are left alone."""
        (cx, cy, cz), (rx, ry, rz) = self.center_mm, self.radius_mm
        met = ((p.z - cz).abs().flatten(1).amin(1) < 1.5 * rz).nonzero()[:, 0]
        if not len(met):
            return
        x, y, z = p.x[met], p.y[met], p.z[met]
        across = ((x - cx) / rx).square_() + ((z - cz) / rz).square_()
        whole = (across + ((y - cy) / ry).square_()).sqrt_()
        part = echo[met]
        fading = torch.sigmoid((y - cy - ry) * 2) * torch.exp((cy - y).clamp_(max=0) / 14)
        part += self.behind_db * fading * torch.sigmoid((0.8 - across) * 8)
        part += (self.echo_db - part) * torch.sigmoid((1 - whole) * (6 * min(self.radius_mm)))
        echo[met] = part


@dataclass(frozen=True)
class Bone:
    """A long rounded surface: a bright line, and a shadow below it."""

    x_mm: float
    y_mm: float
    slope: float
    curvature_mm: float
    relief: Waves
    relief_mm: float
    line_db: float
    line_mm: float
    shadow_db: float
    fade_mm: float  # over which the shadow fills

    def draw(self, echo: Tensor, p: Points, coarse: Points) -> None:
        """Into ``echo``."""
        aside = coarse.x - self.x_mm - self.slope * coarse.z
        surface = self.y_mm + aside.square() * (0.5 / self.curvature_mm) + self.relief_mm * self.relief.at(coarse)
        below = p.y - fine(surface, p.x)
        steep = fine(torch.exp((aside / self.curvature_mm).square() * -2), p.x)
        echo += (self.shadow_db - echo) * torch.sigmoid((below - 0.8) * 3) * (1 - (below * (-1 / self.fade_mm)).exp().clamp(max=1) * 0.6)
        echo += (self.line_db - echo).clamp(min=0) * steep * torch.exp(below.square() * (-0.5 / self.line_mm**2))


@dataclass(frozen=True)
class Place:
    """Draws single things somewhere along the sweep."""

    random: Random
    depth_mm: float
    length_mm: float
    width_mm: float

    def tube(self) -> Tube:
        u = self.random.uniform
        wind = tuple(Waves(self.random, (np.inf, np.inf, float(u(25, 80))), 2) for _ in range(2))
        return Tube(
            x_mm=u(-0.4, 0.4) * self.width_mm,
            y_mm=u(0.15, 0.9) * self.depth_mm,
            slope=(self.random.normal(0, 0.4), self.random.normal(0, 0.1)),
            wind=(wind[0], wind[1]),
            wind_mm=u(0.3, 1.5),
            radius_mm=0.7 + 3.5 * self.random.random() ** 2,
            lumen_db=u(-62, -46),
            wall_db=u(2, 14),
        )

    def ball(self) -> Ball:
        u = self.random.uniform
        size = 1.0 + 6 * self.random.random() ** 2
        radius = size * u(0.7, 1.3), size * u(0.6, 1.0), size * u(0.7, 1.6)
        lump = self.random.random() < 0.4
        echo, behind = (u(-40, -12), u(-6, 3)) if lump else (u(-64, -50), u(2, 9))
        centre = u(-0.5, 0.5) * self.width_mm, u(0.1, 0.95) * self.depth_mm, u(-0.55, 0.55) * self.length_mm
        return Ball(centre, radius, echo, behind)

    def bone(self) -> Bone:
        u = self.random.uniform
        return Bone(
            x_mm=u(-0.55, 0.55) * self.width_mm,
            y_mm=u(0.2, 0.95) * self.depth_mm,
            slope=self.random.normal(0, 0.12),
            curvature_mm=float(np.exp(u(np.log(3), np.log(50)))),
            relief=Waves(self.random, (float(u(8, 30)), np.inf, float(u(8, 40)))),
            relief_mm=u(0.1, 1.0),
            line_db=u(-12, 1),
            line_mm=u(0.2, 0.5),
            shadow_db=u(-70, -45),
            fade_mm=u(0.5, 6),
        )
