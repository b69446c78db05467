"""Random tissue in torch: curved layers with bright interfaces, fibres, septa, and what lies in them.

Tissue is a function of position, so any path may cut it anywhere. x lateral, y depth (0 at the skin), z elevational, mm;
[frames, H, W] each. Beams run along +y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export.training.fields import Grain, Points, Random, Waves, fine
from export.training.inclusions import Place


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
        place = Place(random, depth_mm, length_mm, width_mm)
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
