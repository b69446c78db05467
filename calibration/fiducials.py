"""Which dot belongs to which wire: three collinear dots for each N, and all of them where one plane can cut the phantom so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.dots import Dots
from calibration.phantom import NWire, Phantom

Floats = NDArray[np.float64]
OFF_LINE_MM = 0.7  # of the middle dot, from the line through the outer ones
STEEPEST = np.tan(np.radians(50))  # of such a line
WIDTH_SHARE = (0.85, 1.6)  # of the outer dots' distance to the wires': a slanting plane stretches it, an approximate spacing too
ANGLES_DIFFER = np.sin(np.radians(12))
OFF_PLANE_MM = 1.0  # root mean square of what is left where the dots are laid on a plane through the wires
SPACING_DIFFERS = 0.25  # of the axes of that plane to the spacing that was told
MOST_TRIPLES = 40  # of a pattern in an image; the brightest
MOST_STACKS = 1500  # so that an image full of false dots costs a second and not a day


class Orientation(NamedTuple):
    """How the phantom stands to the image: patterns upwards instead of downwards, wires from right to left."""

    upwards: bool
    leftwards: bool


ORIENTATIONS = tuple(Orientation(*way) for way in product((False, True), repeat=2))


@dataclass(frozen=True)
class Fiducials:
    """Dots of one image, wire by wire: ``at`` [wires, 2] (column, row). ``off_mm``: how badly they fit one plane."""

    at: Floats
    off_mm: float

    def shares(self, spacing_mm: tuple[float, float]) -> Floats:
        """[patterns]: where between the outer dots each middle dot lies."""
        first, middle, last = np.moveaxis(self.at.reshape(-1, 3, 2) * spacing_mm, 1, 0)
        along = last - first
        return np.asarray(((middle - first) * along).sum(1) / (along * along).sum(1))


def find_fiducials(dots: Dots, phantom: Phantom, spacing_mm: tuple[float, float], orientation: Orientation) -> Fiducials | None:
    """The dots that show the wires of all patterns in this orientation; None where no set of dots can."""
    at_mm = dots.at * spacing_mm
    patterns = phantom.patterns[::-1] if orientation.upwards else phantom.patterns
    triples = [_triples(at_mm, dots.strength, pattern) for pattern in patterns]
    best: Fiducials | None = None
    best_off = OFF_PLANE_MM
    for chosen in _stacks(triples, at_mm):
        rows = [triple[::-1] if orientation.leftwards else triple for triple in chosen]
        at = dots.at[np.concatenate(rows[::-1] if orientation.upwards else rows)]
        off = off_plane_mm(at, phantom, spacing_mm)
        if off < best_off:
            best, best_off = Fiducials(at, off), off
    return best


def off_plane_mm(at: Floats, phantom: Phantom, spacing_mm: tuple[float, float]) -> float:
    """Root mean square distance (mm) of dots [wires, 2] from where one plane cuts the wires; infinite where none can."""
    left, found_mm = plane_through(at, phantom, spacing_mm)
    return left if (np.abs(found_mm / spacing_mm - 1) <= SPACING_DIFFERS).all() else float("inf")


def plane_through(at: Floats, phantom: Phantom, spacing_mm: tuple[float, float]) -> tuple[float, Floats]:
    """How far (root mean square, mm) dots [wires, 2] are from where a plane cuts the wires, and the pixel spacing [2] that fits best.

    The plane goes through the middle dots, which are known in Phantom from their share: no tracker is needed.
    """
    shares = Fiducials(at, 0.0).shares(spacing_mm)
    middle_mm = np.array([pattern.middle_mm(share) for pattern, share in zip(phantom.patterns, shares, strict=True)])
    nothing = float("inf"), np.full(2, np.nan)
    plane = _plane(middle_mm, phantom)
    if plane is None:
        return nothing
    wires_mm = phantom.intersections_mm(*plane)
    if not np.isfinite(wires_mm).all():
        return nothing
    design = np.column_stack([at, np.ones(len(at))])
    solution = np.linalg.lstsq(design, wires_mm, rcond=None)[0]
    left = design @ solution - wires_mm
    return float(np.sqrt((left**2).sum(1).mean())), np.asarray(np.linalg.norm(solution[:2], axis=1))


def _plane(middle_mm: Floats, phantom: Phantom) -> tuple[Floats, Floats] | None:
    """(point, normal) through the middle dots; with two only, or three on a line, the plane that also holds the N's own direction."""
    centre = middle_mm.mean(0)
    values, axes = np.linalg.svd(middle_mm - centre)[1:]
    if len(middle_mm) >= 3 and values[1] > 0.5:
        return centre, np.asarray(axes[2])
    pattern = phantom.patterns[0]
    across = pattern.origins_mm[2] - pattern.origins_mm[0]
    normal = np.cross(axes[0], across - pattern.directions[0] * (across @ pattern.directions[0]))
    length = np.linalg.norm(normal)
    return None if length < 1e-9 else (centre, np.asarray(normal / length))


def _triples(at_mm: Floats, strength: Floats, pattern: NWire) -> NDArray[np.intp]:
    """[n, 3]: dots (left, middle, right) that may show an N."""
    left, right = np.nonzero(at_mm[:, None, 0] < at_mm[None, :, 0])
    along = at_mm[right] - at_mm[left]
    length = np.linalg.norm(along, axis=1)
    low, high = (share * pattern.width_mm for share in WIDTH_SHARE)
    fits = (length > low) & (length < high) & (np.abs(along[:, 1]) < STEEPEST * along[:, 0])
    left, right, along, length = left[fits], right[fits], along[fits], length[fits]
    apart = at_mm[None] - at_mm[left][:, None]
    share = (apart * along[:, None]).sum(2) / length[:, None] ** 2
    off_mm = np.abs(apart[..., 0] * along[:, None, 1] - apart[..., 1] * along[:, None, 0]) / length[:, None]
    pair, middle = np.nonzero((share > 0.02) & (share < 0.98) & (off_mm < OFF_LINE_MM))
    found = np.stack([left[pair], middle, right[pair]], 1)
    return found[np.argsort(-strength[found].sum(1), kind="stable")[:MOST_TRIPLES]]


def _stacks(triples: Sequence[NDArray[np.intp]], at_mm: Floats) -> list[tuple[NDArray[np.intp], ...]]:
    """Choices of one triple for each pattern, from the top of the image down, that run alike and share no dot."""
    found: list[tuple[NDArray[np.intp], ...]] = [()]
    for of_pattern in triples:
        found = [(*upper, triple) for upper in found for triple in of_pattern if not upper or _below(triple, upper[-1], at_mm)][
            :MOST_STACKS
        ]
    return found


def _below(triple: NDArray[np.intp], upper: NDArray[np.intp], at_mm: Floats) -> bool:
    first, second = at_mm[upper], at_mm[triple]
    along, other = first[2] - first[0], second[2] - second[0]
    turn = abs(along[0] * other[1] - along[1] * other[0]) / (np.hypot(*along) * np.hypot(*other))
    apart = second[1] - first[1]
    return bool(turn < ANGLES_DIFFER and along[0] * apart[1] - along[1] * apart[0] > np.hypot(*along) and not set(triple) & set(upper))
