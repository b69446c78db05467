"""A phantom for light: bent vessels of 1 to 4 mm with known haemoglobin and oxygen, and what a laser pulse makes of them.

The signal of a voxel is the energy that it absorbs: fluence times absorption. How sound of that energy travels to the probe is not
simulated: no limited view, no reconstruction artefacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.oxygenation import extinction
from edge.simulation.display import Floats
from edge.simulation.phantom import Phantom
from edge.simulation.shapes import Tube, inside

GRAMS_PER_MOL = 64_500.0
HAEMOGLOBIN_G_PER_L = 150.0  # of whole blood
TISSUE_BLOOD_SHARE, TISSUE_SATURATION = 0.02, 0.7
DIAMETERS_MM = (4.0, 2.8, 1.8, 1.0)
LATERAL = (0.22, 0.44, 0.62, 0.80)  # shares of the width
BRIGHTEST = 0.8  # of full scale: the strongest vessel at the usual pulse energy; pulses vary
PULSE_ENERGY_MJ, PULSE_VARIATION = 20.0, 0.05
NOISE = 0.016  # of full scale, standard deviation of each part of the received signal


def absorption_per_mm(wavelength_nm: float, saturation: float, haemoglobin_g_per_l: float = HAEMOGLOBIN_G_PER_L) -> float:
    """Of blood: ln(10) times the molar concentration times the extinction of the mixture."""
    oxy, deoxy = extinction(wavelength_nm)
    per_cm = np.log(10) * haemoglobin_g_per_l / GRAMS_PER_MOL * (saturation * oxy + (1 - saturation) * deoxy)
    return float(per_cm) / 10


@dataclass(frozen=True)
class Vessel:
    """One tube full of blood. ``saturation`` 0..1."""

    tube: Tube
    saturation: float

    def centre_mm(self, z_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points [n, 3] of the centre line."""
        x, y = self.tube.centre(np.asarray(z_mm, np.float32))
        return np.stack([x, y, z_mm], -1).astype(np.float64)


class VesselPhantom(Phantom):
    """The usual phantom with four bent vessels in place of its tree. ``mu_eff_per_mm`` by wavelength; without, light loses nothing.

    The simulated receiver's depth gain makes up for the mean of all mu_eff, as a front end does that knows no colours.
    """

    def __init__(
        self, size_mm: tuple[float, float, float], seed: int, wavelengths_nm: tuple[float, ...], mu_eff_per_mm: Mapping[float, float]
    ) -> None:
        super().__init__(size_mm, seed)
        self.wavelengths_nm, self.mu_eff_per_mm = wavelengths_nm, dict(mu_eff_per_mm)
        self.vessels = _vessels((size_mm[0], size_mm[1], abs(size_mm[2])), np.random.default_rng([seed, 0xB100D]))
        self.vessel = [vessel.tube for vessel in self.vessels]
        self._full = max(absorption_per_mm(nm, v.saturation) for nm in wavelengths_nm for v in self.vessels) / BRIGHTEST
        self._gain_per_mm = float(np.mean(list(self.mu_eff_per_mm.values()))) if self.mu_eff_per_mm else 0.0

    def distances_mm(self, points_mm: NDArray[np.floating]) -> Floats:
        """Signed distance to the wall of each vessel, negative inside: [vessels, ...] for points [..., 3] in Reference mm."""
        axes = self._axes(points_mm)
        shape = np.shape(points_mm)[:-1]
        return np.stack([tube.distance(*axes)[0].reshape(shape) for tube in self.vessel])

    def signal(self, points_mm: NDArray[np.floating], wavelength_nm: float) -> Floats:
        """Absorbed energy at points [..., 3] in Reference mm as a share of full scale, float32 [...], for the usual pulse."""
        absorbed = np.full(np.shape(points_mm)[:-1], TISSUE_BLOOD_SHARE * absorption_per_mm(wavelength_nm, TISSUE_SATURATION), np.float32)
        for vessel, distance in zip(self.vessels, self.distances_mm(points_mm), strict=True):
            absorbed += (np.float32(absorption_per_mm(wavelength_nm, vessel.saturation)) - absorbed) * inside(distance)
        lost_per_mm = self.mu_eff_per_mm.get(wavelength_nm, 0.0) - self._gain_per_mm
        depth_mm = np.maximum(np.asarray(points_mm, np.float32)[..., 1], 0)
        return np.asarray(absorbed * np.exp(-lost_per_mm * depth_mm) / self._full, np.float32)

    def truth(self) -> dict[str, Any]:
        """What a reconstruction should find, for a file: vessels by diameter, saturation and centre line (Reference, mm)."""
        z_mm = np.arange(0, abs(self.size_mm[2]) + 1, 1.0)
        turned = np.array([1, 1, self._along])
        return {
            "wavelengths_nm": list(self.wavelengths_nm),
            "mu_eff_per_mm": {f"{nm:g}": value for nm, value in self.mu_eff_per_mm.items()},
            "pulse_energy_mj": PULSE_ENERGY_MJ,
            "vessels": [
                {
                    "diameter_mm": 2 * vessel.tube.radius_mm,
                    "saturation_percent": round(100 * vessel.saturation, 2),
                    "centre_line_mm": np.round(vessel.centre_mm(z_mm) * turned, 3).tolist(),
                }
                for vessel in self.vessels
            ],
        }


def received(signal: Floats, energy_mj: float, random: np.random.Generator) -> Floats:
    """Grey values 0..255, float32, linear in the signal: the envelope of what a pulse of this energy gives, with the receiver's noise."""
    parts = random.standard_normal((2, *signal.shape), np.float32) * np.float32(NOISE)
    shown = np.hypot(signal * np.float32(energy_mj / PULSE_ENERGY_MJ) + parts[0], parts[1])
    return np.asarray(np.clip(255 * shown, 0, 255), np.float32)


def pulse_energy_mj(seed: int, index: int) -> float:
    """Of the laser at frame ``index``: lasers flicker, and tell it."""
    flicker = np.random.default_rng([seed, 0x1A5E2, index]).uniform(-1, 1) * np.sqrt(3)
    return round(float(PULSE_ENERGY_MJ * (1 + PULSE_VARIATION * flicker)), 4)


def _vessels(size_mm: tuple[float, float, float], random: np.random.Generator) -> list[Vessel]:
    """Side by side, in a random order of diameters, each at its own depth, bending from somewhere in the middle of the sweep on."""
    width, depth, length = size_mm
    found = []
    saturations = random.permutation([0.98, 0.85, 0.70, 0.55]) + random.uniform(-0.02, 0.02, 4)
    for share, diameter, saturation in zip(LATERAL, random.permutation(DIAMETERS_MM), saturations, strict=True):
        tube = Tube(
            x_mm=(share + random.uniform(-0.02, 0.02)) * width,
            y_mm=random.uniform(0.18, 0.48) * depth,
            radius_mm=float(diameter) / 2,
            wind_mm=(random.uniform(0.4, 1.4), random.uniform(0.5, 1.5)),
            wavelength_mm=random.uniform(30, 60),
            fork_mm=random.uniform(0.3, 0.6) * length,
            slope=(random.uniform(-0.06, 0.06), random.uniform(-0.08, 0.08)),
        )
        found.append(Vessel(tube, float(saturation)))
    return found
