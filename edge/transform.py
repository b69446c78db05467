"""Rigid and affine 4x4 transforms that know between which coordinate systems they map.

A transform is named as in PLUS: ``ImageToReference`` maps a point given in Image to the same point given in Reference. Two
transforms can be multiplied only where their coordinate systems meet, so a forgotten inverse is an error and not a wrong volume.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.errors import SonosweepError

COORDINATE_SYSTEMS = {
    "Image": "pixel indices of the MF image: column (lateral), row (axial), 0; pixel centres at integers",
    "Center": "millimetres, origin in the centre of the image; lateral, axial, elevational",
    "Face": "millimetres, origin in the middle of the image's first row, or where a convex probe's beams meet; axes as Center",
    "PreviousCenter": "Center of the frame before",
    "Probe": "millimetres, the tracked marker on the probe",
    "Tracker": "millimetres, the tracking device",
    "Reference": "millimetres; the first image of the sweep, or a marker fixed to the patient where a tracker gives one",
    "Phantom": "millimetres, the calibration phantom",
}
REFLECTION = np.diag([1.0, 1.0, -1.0, 1.0])  # through the image plane: elevational changes sign


class CoordinateMismatch(SonosweepError):
    """Two transforms were multiplied whose coordinate systems do not meet."""


class BadTransform(SonosweepError):
    """A matrix is not a usable transform: wrong shape, not finite, singular, or an unknown coordinate system."""


class Transform:
    """A 4x4 matrix (float64, column vectors, millimetres or pixel indices) from ``source`` to ``target``.

    >>> image_to_probe = Transform("Image", "Probe", np.diag([0.2, 0.2, 0.2, 1]))
    >>> probe_to_reference = Transform("Probe", "Reference", np.eye(4))
    >>> (probe_to_reference @ image_to_probe).name
    'ImageToReference'
    >>> image_to_probe @ probe_to_reference
    Traceback (most recent call last):
    edge.transform.CoordinateMismatch: ImageToProbe @ ProbeToReference: Image is not Reference
    """

    __slots__ = ("matrix", "source", "target")

    def __init__(self, source: str, target: str, matrix: ArrayLike) -> None:
        for system in (source, target):
            if system not in COORDINATE_SYSTEMS:
                raise BadTransform(f"{system} is not a coordinate system; known: {', '.join(COORDINATE_SYSTEMS)}")
        values = np.array(matrix, np.float64)
        if values.shape != (4, 4) or not np.isfinite(values).all() or not np.array_equal(values[3], [0, 0, 0, 1]):
            raise BadTransform(f"{source}To{target} needs a finite 4x4 matrix with the last row 0 0 0 1, got {values.tolist()}")
        values.flags.writeable = False
        self.source, self.target, self.matrix = source, target, values

    @classmethod
    def named(cls, name: str, matrix: ArrayLike) -> Transform:
        """``named("ImageToReference", m)``: the coordinate systems are read from the name."""
        found = re.fullmatch(r"([A-Z][A-Za-z]*?)To([A-Z][A-Za-z]*)", name)
        if not found:
            raise BadTransform(f"{name!r} does not name a transform; a name reads like ImageToReference")
        return cls(found[1], found[2], matrix)

    @property
    def name(self) -> str:
        """``ImageToReference``"""
        return f"{self.source}To{self.target}"

    def __matmul__(self, other: Transform) -> Transform:
        if self.source != other.target:
            raise CoordinateMismatch(f"{self.name} @ {other.name}: {self.source} is not {other.target}")
        return Transform(other.source, self.target, self.matrix @ other.matrix)

    def inverse(self) -> Transform:
        """The way back; ``BadTransform`` where the matrix has none."""
        try:
            matrix = np.linalg.inv(self.matrix)
        except np.linalg.LinAlgError:
            raise BadTransform(f"{self.name} is singular and has no inverse") from None
        matrix[3] = (0, 0, 0, 1)
        return Transform(self.target, self.source, matrix)

    def apply(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points [..., 3] in the source system, answered in the target system."""
        at = np.asarray(points, np.float64)
        return np.asarray(at @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def reflected(self) -> Transform:
        """The same motion seen in a mirror that lies in the image plane: F T F, F = diag(1, 1, -1, 1)."""
        return Transform(self.source, self.target, REFLECTION @ self.matrix @ REFLECTION)

    def __repr__(self) -> str:
        return f"Transform({self.source!r}, {self.target!r}, {self.matrix.tolist()})"


def image_to_center(width: int, height: int, spacing_mm: tuple[float, float]) -> Transform:
    """Pixel indices to millimetres about the image's centre; ``spacing_mm`` is (lateral, axial)."""
    lateral, axial = spacing_mm
    matrix = np.diag([lateral, axial, 1.0, 1.0])
    matrix[:2, 3] = -lateral * (width - 1) / 2, -axial * (height - 1) / 2
    return Transform("Image", "Center", matrix)


def image_to_face(width: int, spacing_mm: tuple[float, float], first_row_mm: float = 0.0) -> Transform:
    """Pixel indices to millimetres about what two images of one probe have in common: the middle of the first row.

    Of a convex probe it is the point where its beams meet, ``first_row_mm`` above the first row.
    """
    lateral, axial = spacing_mm
    matrix = np.diag([lateral, axial, 1.0, 1.0])
    matrix[:2, 3] = -lateral * (width - 1) / 2, first_row_mm
    return Transform("Image", "Face", matrix)


def first_image_to_reference(spacing_mm: tuple[float, float]) -> Transform:
    """Where the first image of an untracked sweep lies: Reference is that image in millimetres, from its first pixel."""
    return Transform("Image", "Reference", np.diag([*spacing_mm, 1.0, 1.0]))


def motion(translation_mm: ArrayLike, rotation_rad: ArrayLike) -> Transform:
    """CenterToPreviousCenter of one step: R = Rz Ry Rx (intrinsic z-y'-x''), then the translation.

    ``translation_mm`` and ``rotation_rad`` are (lateral, axial, elevational), shape [3].
    """
    x, y, z = np.asarray(rotation_rad, np.float64)
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    matrix = np.eye(4)
    matrix[:3, :3] = (
        np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    )
    matrix[:3, 3] = np.asarray(translation_mm, np.float64)
    return Transform("Center", "PreviousCenter", matrix)


def motion_parameters(step: Transform) -> NDArray[np.float64]:
    """The inverse of :func:`motion`: [6] = translation in mm, then rotation in radians, both (x, y, z)."""
    r = step.matrix
    rotation = np.arctan2(r[2, 1], r[2, 2]), np.arctan2(-r[2, 0], np.hypot(r[2, 1], r[2, 2])), np.arctan2(r[1, 0], r[0, 0])
    return np.array([*r[:3, 3], *rotation])


def interpolated(before: Transform, after: Transform, fraction: float) -> Transform:
    """Between two poses of the same image: origin linear, orientation along the shortest arc, pixel scale from ``before``.

    ``fraction`` 0 is ``before``, 1 is ``after``. The step between the two must be rigid (both come from one probe).
    """
    if (before.source, before.target) != (after.source, after.target):
        raise CoordinateMismatch(f"{before.name} and {after.name} cannot be interpolated")
    a, b = _orthonormal(before.matrix[:3, :3]), _orthonormal(after.matrix[:3, :3])
    matrix = before.matrix.copy()
    matrix[:3, :3] = rotation_about(_rotation_vector(b @ a.T) * fraction) @ before.matrix[:3, :3]
    matrix[:3, 3] += fraction * (after.matrix[:3, 3] - before.matrix[:3, 3])
    return Transform(before.source, before.target, matrix)


def _orthonormal(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orientation of an image whose columns and rows lie along the first two ``axes``: writers differ in the third, which may be 0."""
    across, down = axes[:, 0] / np.linalg.norm(axes[:, 0]), axes[:, 1] / np.linalg.norm(axes[:, 1])
    u, _, vt = np.linalg.svd(np.stack([across, down, np.cross(across, down)], axis=1))
    return np.asarray(u @ vt, np.float64)


def _rotation_vector(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    length = np.linalg.norm(axis)
    return np.zeros(3) if length < 1e-12 else axis / length * angle


def rotation_about(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation [3, 3] by the length (rad) of ``vector`` about its direction (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k))
