"""Random tissue in torch: curved layers with bright interfaces, fibres, septa, vessels, cysts, bone with its shadow.

Tissue is a function of position, so any path may cut it anywhere. x lateral, y depth (0 at the skin), z elevational, mm;
[frames, H, W] each. Beams run along +y. Smooth functions are taken on every 8th point and interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

Random = np.random.Generator
COARSE = 8


@dataclass(frozen=True)
class Points:
    """Where the pixels of frames lie, and the same on a coarse raster that still reaches the edges."""

    x: Tensor
    y: Tensor
    z: Tensor

    def coarse(self) -> Points:
        """Every :data:`COARSE`-th point; sizes must be multiples of it, plus 1."""
        return Points(*(a[:, ::COARSE, ::COARSE] for a in (self.x, self.y, self.z)))


class Waves:
    """A smooth random function of unit variance: a sum of plane waves."""

    def __init__(self, random: Random, wavelengths_mm: tuple[float, float, float], count: int = 4) -> None:
        wave = random.uniform(0.6, 1.4, (count, 3)) * random.choice([-1, 1], (count, 3)) * 2 * np.pi / np.array(wavelengths_mm)
        self._waves = np.concatenate([wave, random.uniform(0, 2 * np.pi, (count, 1))], 1).tolist()

    def at(self, p: Points) -> Tensor:
        """Values [...] at the points as they are given."""
        total = torch.zeros_like(p.x)
        for kx, ky, kz, phase in self._waves:
            angle = p.x * kx + phase
            if ky:
                angle += p.y * ky
            total += (angle + p.z * kz).cos_()
        return total * (2 / len(self._waves)) ** 0.5


def fine(coarse: Tensor, like: Tensor) -> Tensor:
    """A coarse map on all points."""
    return interpolate(coarse[:, None], like.shape[1:], mode="bilinear", align_corners=True)[:, 0]


class Grain:
    """Fine structure: smooth noise of unit variance, periodic, stretched to a grain of ``sd_mm`` (x, y, z)."""

    CELLS = 48, 112, 64  # z, y, x
    SD_CELLS = 1.3

    def __init__(self, random: Random, sd_mm: tuple[float, float, float], device: torch.device | str) -> None:
        noise = np.fft.rfftn(random.standard_normal(self.CELLS, np.float32))
        for axis, count in enumerate(self.CELLS):
            k = np.fft.rfftfreq(count) if axis == 2 else np.fft.fftfreq(count)
            noise *= np.exp(-2 * (np.pi * self.SD_CELLS * k) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        smooth = np.fft.irfftn(noise, self.CELLS, axes=(0, 1, 2))
        padded = np.pad(smooth / smooth.std(), [(0, 1)] * 3, mode="wrap").astype(np.float32)
        self._volume = torch.as_tensor(padded, device=device)[None, None]
        self._per_mm = [self.SD_CELLS / sd for sd in sd_mm]
        self._offset = random.uniform(0, 100, 3).tolist()

    def at(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Values at points [...]."""
        counts = self.CELLS[::-1]
        places = [
            (a * scale + offset).remainder_(count).mul_(2 / count).sub_(1)
            for a, scale, offset, count in zip((x, y, z), self._per_mm, self._offset, counts, strict=True)
        ]
        grid = torch.stack(places, -1)[None]
        return grid_sample(self._volume, grid, align_corners=True)[0, 0]


@dataclass(frozen=True)
class Layer:
    """Tissue from a curved interface downwards."""

    depth_mm: float
    echo_db: float
    interface_db: float
    thickness_mm: float  # of the interface, sd
    bend_mm: float
    bend: Waves
    cloud_db: float
    cloud: Waves
    texture: str
    texture_db: float
    grain: tuple[float, float, float]  # radians per mm along x, y, z of fibres
    wobble: Waves
    streaks_db: float
    mottle_db: float


class Tissue:
    """One random phantom along ``length_mm`` of sweep around z = 0."""

    def __init__(self, random: Random, depth_mm: float, length_mm: float, width_mm: float, device: torch.device | str = "cpu") -> None:
        self._layers = _layers(random, depth_mm)
        u = random.uniform
        self._along = self._layers[int(random.integers(1, len(self._layers)))]  # streaks lie along this layer
        self._streaks = Grain(random, (float(u(1.2, 4.5)), float(u(0.1, 0.3)), float(u(0.8, 4.5))), device)
        self._mottle = Grain(random, (float(u(0.3, 1.2)), float(u(0.2, 0.7)), float(u(0.4, 1.6))), device)
        self._glint = Waves(random, (9, np.inf, 12))
        place = _Place(random, depth_mm, length_mm, width_mm)
        self._tubes = [place.tube() for _ in range(random.choice([0, 0, 1, 1, 2, 3]))]
        cysts = random.poisson(length_mm / 30) if random.random() < 0.6 else 0
        self._balls = [place.ball() for _ in range(cysts)]
        self._bones = [place.bone() for _ in range(random.choice([0, 0, 1, 1, 2]))]

    def echo_db(self, p: Points) -> Tensor:
        """Mean echo power without speckle, dB, [frames, H, W]; the brightest is about 0."""
        coarse = p.coarse()
        echo = torch.full_like(p.x, -70.0)  # coupling gel
        glint = fine(0.7 + 0.3 * torch.tanh(1.5 * self._glint.at(coarse)), p.x)
        tilted = p.y - fine(1.3 * self._along.bend_mm * self._along.bend.at(coarse), p.x)
        streaks = self._streaks.at(p.x, tilted, p.z).mul_(0.7).exp_().sub_(1.28).clamp_(max=4)
        mottle = self._mottle.at(p.x, p.y, p.z)
        for layer in self._layers:
            below = p.y - fine(layer.depth_mm + layer.bend_mm * layer.bend.at(coarse), p.x)
            within = torch.sigmoid(below * 6)
            inner = layer.echo_db + layer.cloud_db * fine(layer.cloud.at(coarse), p.x) + _texture(layer, p, coarse)
            inner += layer.streaks_db * streaks + layer.mottle_db * mottle
            echo += (inner - echo) * within
            echo += layer.interface_db * glint * torch.exp(below.square() * (-0.5 / layer.thickness_mm**2))
        for tube in self._tubes:
            tube.draw(echo, p, coarse)
        for ball in self._balls:
            ball.draw(echo, p)
        for bone in self._bones:
            bone.draw(echo, p, coarse)
        return echo.clamp_(max=3.0)


def _layers(random: Random, depth_mm: float) -> list[Layer]:
    """Skin and three to six layers below it."""
    u = random.uniform
    count = random.integers(2, 6)
    skin = u(0.2, 1.5) if random.random() < 0.5 else u(1, 6)
    depths = np.concatenate([[skin, skin + u(0.8, 3)], np.sort(u(skin + 3, 0.95 * depth_mm, count))])
    layers = []
    for i, depth in enumerate(depths):
        angle, period, slant = u(-0.35, 0.35), u(1.0, 3.5), u(-0.15, 0.15)
        k = 2 * np.pi / period
        flat = (float(u(25, 90)), np.inf, float(u(20, 110)))
        layers.append(
            Layer(
                depth_mm=float(depth),
                echo_db=float(u(-20, -8) if i == 0 else u(-40, -16)),
                interface_db=float(u(4, 20)),
                thickness_mm=float(u(0.1, 0.3)),
                bend_mm=float(u(0.05, 0.2) if i == 0 else u(0.2, 2.2)),
                bend=Waves(random, flat),
                cloud_db=float(u(0.5, 3.5)),
                cloud=Waves(random, (float(u(8, 20)), float(u(6, 15)), float(u(8, 25))), 5),
                texture="plain" if i == 0 else str(random.choice(["plain", "fibres", "fibres", "septa"])),
                texture_db=float(u(2, 8)),
                grain=(k * np.sin(angle), k * np.cos(angle), k * slant),
                wobble=Waves(random, (float(u(9, 25)), float(u(9, 25)), float(u(15, 60)))),
                streaks_db=float(u(0, 1) if i == 0 else u(0.3, 4.5)),
                mottle_db=float(u(0.2, 1.8)),
            )
        )
    return layers


def _texture(layer: Layer, p: Points, coarse: Points) -> Tensor | float:
    if layer.texture == "fibres":
        kx, ky, kz = layer.grain
        phase = p.x * kx + p.y * ky + p.z * kz + fine(2.5 * layer.wobble.at(coarse), p.x)
        patchy = fine(0.5 + 0.5 * torch.tanh(layer.cloud.at(coarse)), p.x)
        return layer.texture_db * ((phase.cos() - 1).mul_(1.6).exp_() - 0.4) * patchy
    if layer.texture == "septa":
        kx, ky, kz = layer.grain
        sheet = torch.sin(p.x * (kx * 0.6) + p.y * (ky * 0.5) + p.z * kz + fine(3 * layer.wobble.at(coarse), p.x))
        return layer.texture_db * torch.exp(sheet.square() * -25.0) * fine(0.5 + 0.5 * torch.tanh(2 * layer.cloud.at(coarse)), p.x)
    return 0.0


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
class _Place:
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
