"""How far a calibration is off, on the images it was made from or on others: in space, in the image plane, and out of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.phantom import Phantom
from calibration.spatial import Observations, SpatialFit, applied, in_probe_mm, inliers_of
from edge.files.probe import ErrorOf, SpatialErrors

Floats = NDArray[np.float64]


def errors(seen: Observations, phantom: Phantom, matrix: Floats, inliers: NDArray[np.bool_]) -> SpatialErrors:
    """Of the middle dots that are ``inliers`` [n, patterns], in space; of all wires of images without outliers, in the image.

    Space: between where ImageToProbe puts a middle dot and where the tracker says it is, as PLUS measures it. In the plane:
    between a dot and where its wire cuts the image plane. Out of it: the share of the first that is upright on the image.
    """
    apart_mm = (in_probe_mm(seen.middle_at, matrix) - seen.middle_in_probe_mm)[inliers]
    normal = matrix[:3, 2] / np.linalg.norm(matrix[:3, 2])
    whole = inliers.all(1)
    lateral, axial = in_plane_mm(seen, phantom, matrix)[whole].reshape(-1, 2).T
    return SpatialErrors(
        images=len(seen),
        middle_dots=int(inliers.sum()),
        outliers=int((~inliers).sum()),
        space_mm=of(np.linalg.norm(apart_mm, axis=1)),
        out_of_plane_mm=of(apart_mm @ normal),
        lateral_mm=of(lateral),
        axial_mm=of(axial),
        in_plane_mm=of(np.hypot(lateral, axial)),
    )


def in_plane_mm(seen: Observations, phantom: Phantom, matrix: Floats) -> Floats:
    """[n, wires, 2] (lateral, axial): dot minus the point where the wire cuts the image plane."""
    spacing_mm = np.linalg.norm(matrix[:3, :2], axis=0)
    image_to_phantom = np.linalg.inv(seen.phantom_to_probe) @ matrix
    found = np.empty_like(seen.at)
    for number, one in enumerate(image_to_phantom):
        normal = np.cross(one[:3, 0], one[:3, 1])
        cut_mm = phantom.intersections_mm(one[:3, 3], normal)
        found[number] = applied(np.linalg.inv(one)[None], cut_mm[None])[0, :, :2]
    return np.asarray((seen.at - found) * spacing_mm)


def of(values_mm: Floats) -> ErrorOf:
    """Mean, standard deviation, root mean square, and what 95 % stay below, of signed or unsigned errors."""
    if not len(values_mm):
        return ErrorOf(mean=float("nan"), deviation=float("nan"), rms=float("nan"), p95=float("nan"))
    return ErrorOf(
        mean=float(values_mm.mean()),
        deviation=float(values_mm.std()),
        rms=float(np.sqrt((values_mm**2).mean())),
        p95=float(np.percentile(np.abs(values_mm), 95)),
    )


def errors_on(seen: Observations, phantom: Phantom, fit: SpatialFit) -> SpatialErrors:
    """On images that the calibration was not made from: outliers are judged anew."""
    return errors(seen, phantom, fit.image_to_probe.matrix, inliers_of(seen, fit.image_to_probe.matrix))
