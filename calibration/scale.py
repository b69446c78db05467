"""Is a pixel as large as the probe says? Measured on wires of known distance; no tracker is needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.fiducials import plane_through
from calibration.phantom import Phantom
from calibration.spatial import CannotCalibrate
from calibration.wire_sweep import WireSweep

ASSUMED_M_S = 1540.0  # speed of sound that scanners scale depth with
FEWEST_IMAGES = 8
TOLERANCE_PERCENT = 2.0
AXES = ("lateral", "axial")


@dataclass(frozen=True)
class Measured:
    """Pixel spacing (lateral, axial) [2] in mm: the median of the images, and the standard deviation of that median."""

    spacing_mm: NDArray[np.float64]
    deviation_mm: NDArray[np.float64]
    images: int


def measured_spacing(sweep: WireSweep, phantom: Phantom) -> Measured:
    """From every image on its own. ``CannotCalibrate`` where too few show all wires."""
    found = np.array([plane_through(one.at, phantom, sweep.spacing_mm)[1] for _, one, _ in sweep.fiducials])
    if len(found) < FEWEST_IMAGES:
        raise CannotCalibrate(
            f"{len(found)} images with all wires are too few for a scale; sweep over the phantom, at least {FEWEST_IMAGES}"
        )
    middle = np.median(found, axis=0)
    spread = 1.4826 * np.median(np.abs(found - middle), axis=0)
    return Measured(middle, np.asarray(1.2533 * spread / np.sqrt(len(found))), len(found))


def off_percent(measured: Measured, declared_mm: tuple[float, float], medium_m_s: float = ASSUMED_M_S) -> NDArray[np.float64]:
    """[2]: how much larger pixels are than declared. ``medium_m_s``: in a slower medium than assumed the same pixel spans less depth."""
    expected = np.array(declared_mm) * [1.0, medium_m_s / ASSUMED_M_S]
    return np.asarray(100 * (measured.spacing_mm / expected - 1))


def cure(
    off: NDArray[np.float64], declared_mm: tuple[float, float], medium_m_s: float, tolerance_percent: float = TOLERANCE_PERCENT
) -> str:
    """What to do where the spacing is not what was declared; empty where it is."""
    words = []
    for axis, name in enumerate(AXES):
        if abs(off[axis]) > tolerance_percent:
            right = declared_mm[axis] * (1 + off[axis] / 100)
            words.append(
                f"{name} pixels are {off[axis]:+.1f} % off: the front end should declare {right:.5f} mm and not {declared_mm[axis]:.5f}"
            )
    if len(words) == 2 and abs(off[0] - off[1]) < tolerance_percent:
        words.append("both by the same: the depth setting told is not the one in use, or the image was scaled after the scanner")
    elif abs(off[1]) > tolerance_percent and abs(off[0]) <= tolerance_percent and medium_m_s == ASSUMED_M_S:
        words.append("only in depth: in water of 20 C sound travels at 1482 m/s; say so with --medium-m-s 1482 before you change anything")
    return "; ".join(words)
