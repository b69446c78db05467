"""N-wire phantoms as PLUS describes them: where each wire runs, and where on it the middle dot of an N lies."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.files import MalformedFile, plus
from edge.files.headers import numbers
from edge.transform import Transform

Floats = NDArray[np.float64]
PARALLEL_SINE = 1e-3  # wires that meet at a smaller angle than this (sine) do not make an N
LARGEST_MM = 1000.0
PIXELS_MM = (0.001, 10.0)
FEWEST_PATTERNS = 2  # one N gives one point of the image plane


class BadPhantom(SonosweepError):
    """A phantom definition cannot be calibrated with."""


@dataclass(frozen=True)
class NWire:
    """One N: wires [3, 2, 3] (wire, front or back end, x y z in mm of Phantom); the middle one is the diagonal."""

    names: tuple[str, ...]
    ends_mm: Floats

    @property
    def origins_mm(self) -> Floats:
        """[3, 3]: a point of each wire."""
        return np.asarray(self.ends_mm[:, 0])

    @property
    def directions(self) -> Floats:
        """[3, 3]: unit vectors along each wire."""
        along = self.ends_mm[:, 1] - self.ends_mm[:, 0]
        return np.asarray(along / np.linalg.norm(along, axis=1, keepdims=True))

    @property
    def width_mm(self) -> float:
        """Distance of the outer wires."""
        apart = self.ends_mm[2, 0] - self.ends_mm[0, 0]
        along = self.directions[0]
        return float(np.linalg.norm(apart - along * (apart @ along)))

    def middle_mm(self, share: Floats) -> Floats:
        """Points [..., 3] of the diagonal, for ``share`` [...]: how far from the first outer dot to the other the middle dot lies.

        By similar triangles the share is the same between the points in which the diagonal meets the outer wires.
        """
        first, last = (self._met(outer) for outer in (0, 2))
        return np.asarray(first + np.asarray(share)[..., None] * (last - first))

    def _met(self, outer: int) -> Floats:
        """The point of the diagonal that is nearest to an outer wire."""
        origin, along = self.origins_mm[1], self.directions[1]
        between, other = origin - self.origins_mm[outer], self.directions[outer]
        cosine = along @ other
        step = (cosine * (other @ between) - along @ between) / (1 - cosine**2)
        return np.asarray(origin + step * along)


@dataclass(frozen=True)
class Phantom:
    """``patterns`` from one side of the phantom to the other, as they lie in the file. ``to_reference``: PhantomToReference."""

    name: str
    patterns: tuple[NWire, ...]
    to_reference: Transform | None
    approximate_spacing_mm: float | None  # what PLUS was told a pixel is, about
    registration_error_mm: float | None  # of PhantomToReference, as PLUS stated it

    @property
    def origins_mm(self) -> Floats:
        """[wires, 3], pattern after pattern."""
        return np.concatenate([pattern.origins_mm for pattern in self.patterns])

    @property
    def directions(self) -> Floats:
        """[wires, 3], pattern after pattern."""
        return np.concatenate([pattern.directions for pattern in self.patterns])

    def intersections_mm(self, point_mm: Floats, normal: Floats) -> Floats:
        """Where a plane meets every wire: [wires, 3]; not finite where a wire runs along the plane."""
        with np.errstate(divide="ignore", invalid="ignore"):
            step = ((point_mm - self.origins_mm) @ normal) / (self.directions @ normal)
        return np.asarray(self.origins_mm + step[:, None] * self.directions)


def read_phantom(path: Path) -> Phantom:
    """The phantom of a PLUS configuration (PhantomDefinition). ``BadPhantom``, ``MalformedFile``."""
    root = plus.read_configuration(path)
    definition = root.find("PhantomDefinition")
    if definition is None:
        raise BadPhantom(f"{path}: has no PhantomDefinition; name the PLUS configuration file that describes the N-wire phantom")
    patterns = tuple(_pattern(element, path) for element in definition.iter("Pattern") if element.get("Type", "").lower() == "nwire")
    if len(patterns) < FEWEST_PATTERNS:
        raise BadPhantom(
            f"{path}: describes {len(patterns)} N-wire patterns; at least {FEWEST_PATTERNS} are needed to place an image plane"
        )
    spacing_mm = _number(root.find("Segmentation"), "ApproximateSpacingMmPerPixel", path)
    if spacing_mm is not None and not PIXELS_MM[0] <= spacing_mm <= PIXELS_MM[1]:
        raise BadPhantom(f"{path}: ApproximateSpacingMmPerPixel is {spacing_mm:g}; a pixel has {PIXELS_MM[0]} to {PIXELS_MM[1]:g} mm")
    description = definition.find("Description")
    registered = next((t for t in root.iter("Transform") if (t.get("From"), t.get("To")) == ("Phantom", "Reference")), None)
    return Phantom(
        name="" if description is None else f"{description.get('Name', '')} {description.get('Version', '')}".strip(),
        patterns=patterns,
        to_reference=None if registered is None else plus.transform("PhantomToReference", registered.get("Matrix", ""), str(path)),
        approximate_spacing_mm=spacing_mm,
        registration_error_mm=_number(registered, "Error", path),
    )


def _pattern(element: ElementTree.Element, path: Path) -> NWire:
    wires = list(element.iter("Wire"))
    names = tuple(wire.get("Name", "") for wire in wires)
    if len(wires) != 3:
        raise BadPhantom(f"{path}: an NWire pattern has {len(wires)} wires ({', '.join(names)}) and not 3")
    ends = [[numbers(wire.get(end, ""), str(path), end) for end in ("EndPointFront", "EndPointBack")] for wire in wires]
    if any(len(point) != 3 for wire in ends for point in wire):
        raise MalformedFile(f"{path}: an end of the wires {', '.join(names)} has not 3 numbers")
    pattern = NWire(names, np.array(ends, np.float64))
    if not (np.abs(pattern.ends_mm) <= LARGEST_MM).all():
        raise BadPhantom(f"{path}: an end of the wires {', '.join(names)} lies further than {LARGEST_MM:g} mm away, or nowhere")
    if (np.linalg.norm(pattern.ends_mm[:, 1] - pattern.ends_mm[:, 0], axis=1) == 0).any():
        raise BadPhantom(f"{path}: a wire of {', '.join(names)} has no length")
    for outer in (0, 2):
        if np.linalg.norm(np.cross(pattern.directions[1], pattern.directions[outer])) < PARALLEL_SINE:
            raise BadPhantom(f"{path}: {names[1]} runs along {names[outer]}; the middle wire of an N is its diagonal")
    return pattern


def _number(element: ElementTree.Element | None, name: str, path: Path) -> float | None:
    if element is None or name not in element.attrib:
        return None
    found = numbers(element.attrib[name], str(path), name)
    return float(found[0]) if len(found) == 1 else None
