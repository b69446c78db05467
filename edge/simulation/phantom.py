"""A 3D phantom as a function of position: layers, a branching vessel, cysts, wires and a bone, the same for every voxel size.

It is evaluated at points and never stored, so it is its own known truth: what a reconstruction should have found anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.simulation.display import Display, Floats
from edge.simulation.shapes import Bone, Cyst, Tube, Waves, Wire, inside, ridge

LUMEN_DB, CYST_DB, SHADOW_DB, WIRE_DB = -58.0, -62.0, -56.0, -4.0
ENHANCEMENT_DB = 8.0
ATTENUATION_DB_PER_MM = 0.1  # what the depth gain leaves uncorrected
FLUENCE_DB_PER_MM = 0.35  # light lost on its way down, after the depth gain of a photoacoustic system


class BadPhantom(SonosweepError):
    """A phantom was asked for that has no size."""


@dataclass(frozen=True)
class Layer:
    """Tissue from a curved interface downwards, until the next layer."""

    depth_mm: float
    echo_db: float
    interface_db: float  # added on the interface itself
    texture: str  # a row of Phantom._texture
    bend: Waves
    bend_mm: float

    def below(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """How far below the interface, mm; negative above."""
        return y - self.depth_mm - self.bend_mm * self.bend.at(x, y, z)


class Phantom:
    """Tissue in a box of ``size_mm`` (lateral, axial, elevational) whose first corner is the origin of Reference.

    A negative elevational size mirrors it, for sweeps that run backwards. The same seed is the same phantom. Beams run along +y:
    shadows and enhancement lie straight below what casts them. Outside the box the tissue goes on.
    """

    def __init__(self, size_mm: tuple[float, float, float], seed: int = 0) -> None:
        if not np.isfinite(size_mm).all() or not all(size_mm):
            raise BadPhantom(f"a phantom of {size_mm} mm has no inside; give three lengths that are not 0")
        self.size_mm, self.seed = size_mm, seed
        self._along = 1.0 if size_mm[2] > 0 else -1.0
        width, depth, length = size_mm[0], size_mm[1], abs(size_mm[2])
        random = np.random.default_rng([seed, 0xF1E5])

        def near(x: float, y: float, z: float) -> tuple[float, float, float]:
            jitter = random.uniform(-0.02, 0.02, 3)
            return (x + jitter[0]) * width, (y + jitter[1]) * depth, (z + jitter[2]) * length

        self._layers = _layers(depth, random)
        self._cloud = Waves.drawn(random, (11, 8, 13), 5)
        self._glint = Waves.drawn(random, (9, float("inf"), 12), 3)
        self._septa = Waves.drawn(random, (13, 3.6, 16), 4)
        self._fibre = Waves.drawn(random, (26, 20, 60), 3)
        self.vessel = _vessel(near(0.47, 0.56, 0.38), depth, random)
        scale = depth / 48
        sizes = (4.6, 3.8, 5.0), (3.2, 2.6, 3.6), (4.2, 4.2, 5.4), (2.0, 1.4, 2.6)
        places = near(0.76, 0.62, 0.24), near(0.18, 0.74, 0.60), near(0.70, 0.72, 0.84), near(0.62, 0.30, 0.50)
        self.cysts = [Cyst(place, (a * scale, b * scale, c * scale)) for place, (a, b, c) in zip(places, sizes, strict=True)]
        self.wires = [Wire((0.07 * width, y * depth, 0.0), (0.0, 0.0, 1.0)) for y in (0.30, 0.52, 0.74)]
        self.wires.append(Wire(near(0.86, 0.36, 0.62), (0.9, 0.05, 1.0)))
        self.bone = Bone(near(0.88, 0.80, 0.52), (0.26 * width, 0.22 * length))

    def echo_db(self, points_mm: NDArray[np.floating]) -> Floats:
        """Mean echo power without speckle at points [..., 3] in Reference mm: dB below the brightest, float32 [...]."""
        x, y, z = self._axes(points_mm)
        echo = self._tissue(x, y, z)
        enhanced = np.zeros_like(echo)
        for cyst in self.cysts:
            distance, behind = cyst.distance(x, y, z)
            _blend(echo, CYST_DB, inside(distance))
            enhanced += behind
        echo += ENHANCEMENT_DB * enhanced
        distance, facing = self._vessel(x, y, z)
        echo += ridge(distance - 0.35, 0.35) * (3 + 13 * facing)
        _blend(echo, LUMEN_DB, inside(distance))
        for wire in self.wires:
            _blend(echo, WIRE_DB, ridge(wire.distance(x, y, z)))
        below = self.bone.depth_below(x, y, z)
        _blend(echo, SHADOW_DB, inside(1.0 - below, 0.9))
        _blend(echo, -3.0, ridge(below, 0.4))
        return np.minimum(echo, 0).reshape(np.shape(points_mm)[:-1])

    def echogenicity(self, points_mm: NDArray[np.floating]) -> Floats:
        """:meth:`echo_db` as linear power, 1 the brightest: float32 [...]."""
        return _linear(self.echo_db(points_mm))

    def grey(self, points_mm: NDArray[np.floating], display: Display | None = None) -> Floats:
        """The known truth at points [..., 3] in Reference mm: grey values 0..255 of an image without speckle, float32 [...]."""
        return (display or Display()).grey(self.echo_db(points_mm))

    def absorption_db(self, points_mm: NDArray[np.floating]) -> Floats:
        """Photoacoustic signal at points [..., 3] in Reference mm, dB below the brightest: blood, skin and little else."""
        x, y, z = self._axes(points_mm)
        signal = np.full_like(x, -48)
        distance, facing = self._vessel(x, y, z)
        _blend(signal, -5.0, inside(distance))
        signal += 5 * facing * ridge(distance + 0.5, 0.4)  # walls that face the probe send most of their sound to it
        _blend(signal, -24.0, ridge(self._layers[0].below(x, y, z) - 0.5, 0.4))
        signal -= FLUENCE_DB_PER_MM * np.maximum(y, 0)
        return signal.reshape(np.shape(points_mm)[:-1])

    def absorption(self, points_mm: NDArray[np.floating]) -> Floats:
        """:meth:`absorption_db` as linear power."""
        return _linear(self.absorption_db(points_mm))

    def _axes(self, points_mm: NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
        """Each coordinate on its own, [points]; sweeps that run backwards see the phantom from the other side."""
        x, y, z = np.ascontiguousarray(np.asarray(points_mm, np.float32).reshape(-1, 3).T)
        return x, y, z * np.float32(self._along)

    def _tissue(self, x: Floats, y: Floats, z: Floats) -> Floats:
        echo = np.full_like(x, -50)  # coupling gel
        glint = 0.75 + 0.25 * np.tanh(1.5 * self._glint.at(x, y, z))  # an interface never shines evenly
        for layer in self._layers:
            below = layer.below(x, y, z)
            within = inside(-below)
            _blend(echo, layer.echo_db, within)
            if layer.texture != "plain":
                echo += self._texture(layer.texture, below, x, y, z) * within
            echo += layer.interface_db * glint * ridge(below)
        return np.asarray(echo - ATTENUATION_DB_PER_MM * np.maximum(y, 0))

    def _texture(self, name: str, below: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
        """What a layer adds to its echo, dB; fades where the layer under it begins, because that one is blended over it."""
        if name == "septa":
            return np.asarray(12 * ridge(self._septa.at(x, y, z), 0.5) * (0.6 + 0.4 * np.tanh(self._cloud.at(x, y, z))))
        if name == "fibres":
            phase = (y - 0.16 * x + 0.9 * self._fibre.at(x, y, z)) * float(2 * np.pi / 1.9)
            return np.asarray(9 * np.exp(1.6 * (np.cos(phase) - 1)) - 3)
        return 1.8 * self._cloud.at(x, y, z)

    def _vessel(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats]:
        """Signed distance to the nearest wall of the whole tree, and how squarely that wall faces the beam."""
        distance, facing = self.vessel[0].distance(x, y, z)
        for tube in self.vessel[1:]:
            other, other_facing = tube.distance(x, y, z)
            nearer = other < distance
            distance = _smooth_minimum(distance, other)
            facing = np.where(nearer, other_facing, facing)
        return distance, facing


def _layers(depth: float, random: np.random.Generator) -> list[Layer]:
    """Skin, fat, muscle, gland and what lies behind it; fractions of the depth."""
    table = (
        (0.010, -16.0, 6.0, "plain", 0.10),
        (0.042, -36.0, 5.0, "septa", 0.12),
        (0.165, -31.0, 15.0, "fibres", 0.70),
        (0.400, -23.0, 13.0, "cloud", 1.00),
        (0.900, -29.0, 10.0, "cloud", 1.20),
    )
    return [
        Layer(part * depth, echo, peak, texture, Waves.drawn(random, (38, float("inf"), 45), 3), bend)
        for part, echo, peak, texture, bend in table
    ]


def _vessel(fork_mm: tuple[float, float, float], depth: float, random: np.random.Generator) -> list[Tube]:
    """A trunk that runs along the sweep and a branch that leaves it at the fork and rises sideways."""
    x, y, z = fork_mm
    radius = 3.4 * depth / 48
    wind = (1.6, 1.1)
    wavelength = float(random.uniform(55, 70))
    trunk = Tube(x, y, radius, wind, wavelength, z, (-0.10, 0.04))
    branch = Tube(x, y, 0.62 * radius, wind, wavelength, z, (0.42, -0.22))
    return [trunk, branch]


def _blend(echo: Floats, value: float, share: Floats) -> None:
    echo += (value - echo) * share


def _smooth_minimum(a: Floats, b: Floats, over_mm: float = 0.5) -> Floats:
    mean, half = (a + b) * 0.5, (a - b) * 0.5
    return np.asarray(mean - np.sqrt(half * half + over_mm**2 / 4) + over_mm / 2 * np.exp(-np.abs(half) / over_mm))


def _linear(decibel: Floats) -> Floats:
    return np.asarray(np.exp(decibel * float(np.log(10) / 10)))
