"""ImageToProbe from images of an N-wire phantom: closed form from the middle dots, then refined on all wires."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from calibration.fiducials import Fiducials
from calibration.gauss_newton import minimised
from calibration.phantom import Phantom
from edge.errors import SonosweepError
from edge.transform import Transform, rotation_about

Floats = NDArray[np.float64]
Axes = Literal["free", "orthogonal", "isotropic"]
AXES: tuple[Axes, ...] = get_args(Axes)
FEWEST_IMAGES = 10
OUTLIER_SIGMAS = 3.5  # robust ones, of the median absolute deviation
ROUNDS = 8
FLATTEST = 0.02  # smallest of the three spreads of the middle dots, of the largest: below it the points lie on a line or a plane


class CannotCalibrate(SonosweepError):
    """The images say too little, or contradict themselves; nothing was written."""


@dataclass(frozen=True)
class Observations:
    """Images with all wires in them. ``at`` [n, wires, 2] (column, row); ``middle_mm`` [n, patterns, 3] of Phantom;
    ``phantom_to_probe`` [n, 4, 4] through the tracker; ``images`` [n] their numbers in the sequence."""

    at: Floats
    middle_mm: Floats
    phantom_to_probe: Floats
    images: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.at)

    @property
    def middle_at(self) -> Floats:
        """[n, patterns, 2]"""
        return np.asarray(self.at[:, 1::3])

    @property
    def middle_in_probe_mm(self) -> Floats:
        """[n, patterns, 3]: where the tracker says that the middle dots are."""
        return applied(self.phantom_to_probe, self.middle_mm)


@dataclass(frozen=True)
class SpatialFit:
    """``inliers`` [n, patterns] of the middle dots. ``closed`` is the closed form, before the refinement."""

    image_to_probe: Transform
    closed: Transform
    inliers: NDArray[np.bool_]
    axes: Axes

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Lateral, axial: what the calibration says a pixel is."""
        lateral, axial = np.linalg.norm(self.image_to_probe.matrix[:3, :2], axis=0)
        return float(lateral), float(axial)

    @property
    def axes_angle_deg(self) -> float:
        """Between the image's columns and rows."""
        lateral, axial = self.image_to_probe.matrix[:3, :2].T
        return float(np.degrees(np.arccos(lateral @ axial / np.linalg.norm(lateral) / np.linalg.norm(axial))))


def observed(
    fiducials: list[tuple[int, Fiducials, Transform]], phantom: Phantom, spacing_mm: tuple[float, float], to_reference: Transform
) -> Observations:
    """From (image number, its fiducials, ProbeToReference); ``to_reference``: PhantomToReference."""
    if not fiducials:
        raise CannotCalibrate("no image shows all wires of the phantom; check the phantom definition, --spacing-mm and the images")
    shares = [found.shares(spacing_mm) for _, found, _ in fiducials]
    middle = [[n.middle_mm(s) for n, s in zip(phantom.patterns, of_image, strict=True)] for of_image in shares]
    return Observations(
        at=np.array([found.at for _, found, _ in fiducials]),
        middle_mm=np.array(middle),
        phantom_to_probe=np.array([(pose.inverse() @ to_reference).matrix for _, _, pose in fiducials]),
        images=np.array([number for number, _, _ in fiducials]),
    )


def calibrated(seen: Observations, phantom: Phantom, axes: Axes = "orthogonal") -> SpatialFit:
    """The calibration that fits ``seen``. ``axes``: ``free`` (two spacings and a shear), ``orthogonal`` (two spacings), ``isotropic``.

    ``CannotCalibrate`` where there are too few images, or the probe was held the same way in all of them.
    """
    if len(seen) < FEWEST_IMAGES:
        raise CannotCalibrate(f"{len(seen)} images with all wires are too few; sweep over the phantom again, at least {FEWEST_IMAGES}")
    closed, inliers = _closed_form(seen)
    refined = _refined(seen, phantom, closed, np.asarray(inliers.all(1)), axes)
    fit = SpatialFit(refined, closed, inliers, axes)
    return replace(fit, inliers=inliers_of(seen, refined.matrix))


def _closed_form(seen: Observations) -> tuple[Transform, NDArray[np.bool_]]:
    """Least squares of the nine numbers that take (column, row, 1) to Probe, with outliers left out round by round."""
    at, target = seen.middle_at.reshape(-1, 2), seen.middle_in_probe_mm.reshape(-1, 3)
    inside = np.ones(len(at), np.bool_)
    for _ in range(ROUNDS):
        spread = np.linalg.svd(at[inside] - at[inside].mean(0), compute_uv=False)
        if spread[-1] < FLATTEST * spread[0]:
            raise CannotCalibrate("the middle dots lie on one line of the image; move the probe along the wires, over their whole length")
        design = np.column_stack([at, np.ones(len(at))])
        solution = np.linalg.lstsq(design[inside], target[inside], rcond=None)[0]
        before, inside = inside, _within(np.linalg.norm(design @ solution - target, axis=1))
        if (before == inside).all():
            break
    return _with_normal(solution[0], solution[1], solution[2]), inside.reshape(seen.middle_at.shape[:2])


def _with_normal(lateral: Floats, axial: Floats, origin: Floats) -> Transform:
    """The image's third axis is upright on the plane, of their mean length, as in PLUS."""
    normal = np.cross(lateral, axial)
    normal *= (np.linalg.norm(lateral) + np.linalg.norm(axial)) / 2 / np.linalg.norm(normal)
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([lateral, axial, normal, origin])
    return Transform("Image", "Probe", matrix)


def _within(error_mm: Floats) -> NDArray[np.bool_]:
    """Which errors are no outliers: by the median, so that half of them may be wrong."""
    scale = 1.4826 * np.median(np.abs(error_mm - np.median(error_mm)))
    return np.asarray(error_mm <= np.median(error_mm) + OUTLIER_SIGMAS * max(scale, 1e-6))


def inliers_of(seen: Observations, matrix: Floats) -> NDArray[np.bool_]:
    """[n, patterns]: middle dots that ``matrix`` (ImageToProbe) puts about as near to the tracker's word as the others."""
    error = np.linalg.norm(in_probe_mm(seen.middle_at, matrix) - seen.middle_in_probe_mm, axis=2)
    return np.asarray(_within(error.ravel()).reshape(error.shape))


def in_probe_mm(at: Floats, matrix: Floats) -> Floats:
    """Pixels [..., 2] through an ImageToProbe matrix: [..., 3]."""
    return np.asarray(at @ matrix[:3, :2].T + matrix[:3, 3])


def _refined(seen: Observations, phantom: Phantom, start: Transform, chosen: NDArray[np.bool_], axes: Axes) -> Transform:
    """Least distance of every outer dot of every chosen image to its wire, and of every middle dot to its point.

    With distances to wires alone ImageToProbe slips out of the plane (0.73 mm in space on PLUS's validation sequence, instead of
    0.61). PhantomToReference stays as it is: fitted with the rest it moved by 7 mm there and the error grew to 1.09 mm.
    """
    if chosen.sum() < FEWEST_IMAGES:
        raise CannotCalibrate(
            f"only {chosen.sum()} images agree with each other; check PhantomToReference and that the phantom did not move"
        )
    at, probe_to_phantom = seen.at[chosen], np.asarray(np.linalg.inv(seen.phantom_to_probe[chosen]), np.float64)
    origins, along = phantom.origins_mm, phantom.directions
    across = np.array([_across(direction) for direction in along])  # [wires, 2, 3]
    middle_mm, middle_along = seen.middle_mm[chosen], along[1::3]

    def distances_mm(parameters: Floats) -> Floats:
        points = applied(probe_to_phantom, in_probe_mm(at, _matrix(parameters, start, axes).matrix))
        aside = np.einsum("nwk,wsk->nws", points - origins, across)
        ahead = np.einsum("npk,pk->np", points[:, 1::3] - middle_mm, middle_along)
        return np.concatenate([aside.ravel(), ahead.ravel()])

    parameters = minimised(distances_mm, np.zeros(_COUNT[axes]), robust=True)
    return _matrix(parameters, start, axes)


_COUNT = {"free": 9, "orthogonal": 8, "isotropic": 7}


def _matrix(parameters: Floats, start: Transform, axes: Axes) -> Transform:
    """``start`` turned (rad about Probe's axes), moved (mm), its spacings scaled (logarithm), sheared."""
    lateral, axial = start.matrix[:3, :2].T
    sizes = np.linalg.norm(start.matrix[:3, :2], axis=0)
    first, second = lateral / sizes[0], axial / sizes[1]
    middle = first + second
    apart = first - second  # the orthogonal pair nearest to both axes shares their bisector
    middle, apart = middle / np.linalg.norm(middle), apart / np.linalg.norm(apart)
    first, second = (middle + apart) / np.sqrt(2), (middle - apart) / np.sqrt(2)
    if axes == "isotropic":
        sizes = np.full(2, sizes.mean()) * np.exp(parameters[6])
    else:
        sizes = sizes * np.exp(parameters[6:8])
    if axes == "free":
        shear = parameters[8]
        first, second = first + shear * second, second + shear * first
        first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    turn = rotation_about(parameters[:3])
    return _with_normal(turn @ first * sizes[0], turn @ second * sizes[1], start.matrix[:3, 3] + parameters[3:6])


def _across(direction: Floats) -> Floats:
    """Two unit vectors upright on ``direction`` and on each other: [2, 3]."""
    return np.asarray(np.linalg.svd(direction[None])[2][1:])


def applied(matrices: Floats, points: Floats) -> Floats:
    """[n, 4, 4] to points [n, k, 3]."""
    return np.asarray(np.einsum("nij,nkj->nki", matrices[:, :3, :3], points) + matrices[:, None, :3, 3])
