"""Vessels found against vessels known: how well a photoacoustic volume holds a simulated phantom, with true and with estimated poses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.compounding import VolumeSettings, open_compounder
from edge.errors import SonosweepError
from edge.evaluation.volumes import GivenPoses
from edge.files.volumes import Volume
from edge.light import photoacoustic
from edge.messages import Frame
from edge.oxygenation import BadWavelengths, Settings, oxygen_saturation
from edge.reconstructor import Reconstructor
from edge.simulation.blood import PULSE_ENERGY_MJ, VesselPhantom
from edge.transform import Transform
from edge.vessel_picture import mean_light

PIECE_MM = 20.0  # of the true path
BACKGROUND_GREY = 40  # light below it is tissue, whatever the strength of the vessels
FEWEST_VOXELS = 3  # of a vessel's cross-section in a slice
Floats = NDArray[np.float64]
Poses = Mapping[int, Transform]


class NoVessels(SonosweepError):
    """There is nothing to compare: no vessel was found, or the sweep is shorter than one piece."""


@dataclass(frozen=True)
class Found:
    """What one set of poses makes of a sweep: ``light`` is the mean of all wavelengths, ``saturation`` None where it cannot be told."""

    poses: Poses
    volumes: dict[str, Volume]
    light: Volume
    saturation: Volume | None

    @cached_property
    def threshold(self) -> float:
        """Half the usual grey value of what is no background: where the edge of a vessel lies."""
        bright = self.light.intensity[self.light.intensity > BACKGROUND_GREY]
        if not bright.size:
            raise NoVessels(f"no voxel is brighter than {BACKGROUND_GREY}; there is no vessel to compare")
        return float(np.median(bright)) / 2


def find(frames: Sequence[Frame], poses: Poses, phantom: VesselPhantom, spacing_mm: float) -> Found:
    """Volumes with the B-mode frames at ``poses`` and the light between them, at one pulse energy; saturation at known fluence."""
    with open_compounder("host", VolumeSettings(spacing_mm=spacing_mm), 0) as compounder:
        reconstructor = Reconstructor(GivenPoses(dict(poses)), compounder, say_bricks=False, pulse_energy_mj=PULSE_ENERGY_MJ)
        for frame in frames:
            reconstructor.feed(frame)
        reconstructor.finish("stopped")
        volumes = reconstructor.volumes()
    light = [volumes[name] for name in photoacoustic(volumes)]
    if not light:
        raise NoVessels("no photoacoustic frame was placed")
    try:
        saturation = oxygen_saturation(light, Settings(mu_eff_per_mm=phantom.mu_eff_per_mm))
    except BadWavelengths:
        saturation = None
    return Found(poses, volumes, mean_light(light), saturation)


def compare_vessels(true: Found, estimates: Mapping[str, Found], phantom: VesselPhantom, corners: Floats) -> list[dict[str, Any]]:
    """A row for the true poses and for each estimate. ``corners`` [m, 3]: points of an image in pixel indices, for the alignment.

    ``dice``: overlap of what was found with the phantom, the mean of pieces of 20 mm, each aligned rigidly by its frames;
    ``dice_of_true_poses``: its share of what true poses reach. Absolute, without any alignment: ``centre_line_mm``, the mean distance
    between the centre lines of found and of known vessels; ``placement_mm``, how far the vessels' own cross-sections were misplaced.
    ``saturation_error_points``: mean absolute error of the voxels in vessels; ``saturation_bias_points``: of the worst vessel's mean.
    """
    rows: list[dict[str, Any]] = []
    of_true = 0.0
    for name, found in {"true poses": true, **estimates}.items():
        pieces = [_piece(true, found, sequences, phantom, corners) for sequences in _pieces(true.poses)]
        errors = np.concatenate([piece.errors for piece in pieces], axis=1)
        by_vessel = [abs(float(errors[1, errors[0] == vessel].mean())) for vessel in np.unique(errors[0])]
        dice = [piece.dice for piece in pieces]
        mean = float(np.mean(dice))
        of_true = of_true or mean
        rows.append({
            "motion": name,
            "dice": mean,
            "dice_pieces": dice,
            "dice_of_true_poses": mean / max(of_true, 1e-9),
            "centre_line_mm": centre_line_error_mm(found, phantom),
            "placement_mm": _placement_mm(true.poses, found.poses, phantom),
            "saturation_error_points": float(np.abs(errors[1]).mean()) if errors.size else None,
            "saturation_bias_points": max(by_vessel) if by_vessel else None,
        })  # fmt: skip
    return rows


@dataclass(frozen=True)
class _Piece:
    dice: float
    errors: Floats  # [2, voxels]: the vessel's number, and found minus true saturation in points


def _pieces(poses: Poses) -> list[list[int]]:
    """Sequence numbers of the frames of each whole piece."""
    sequences = sorted(poses)
    origins = np.array([poses[n].matrix[:3, 3] for n in sequences])
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(origins, axis=0), axis=1))])
    whole = int(walked[-1] / PIECE_MM)
    if not whole:
        raise NoVessels(f"the sweep is {walked[-1]:.0f} mm long; pieces are {PIECE_MM:g} mm")
    return [[n for n, mm in zip(sequences, walked, strict=True) if at * PIECE_MM <= mm <= (at + 1) * PIECE_MM] for at in range(whole)]


def _piece(true: Found, found: Found, sequences: list[int], phantom: VesselPhantom, corners: Floats) -> _Piece:
    """Every voxel that the true poses measured in this stretch, asked in ``found`` at its place after rigid alignment."""
    shared = [n for n in sequences if n in found.poses]
    rotation, shift_mm = rigid(*(np.concatenate([poses[n].apply(corners) for n in shared]) for poses in (true.poses, found.poses)))
    first, last = sorted(true.poses[n].apply(corners.mean(0))[2] for n in (sequences[0], sequences[-1]))
    step, origin_mm = true.light.spacing_mm, np.array(true.light.origin_mm)
    z_mm = origin_mm[2] + step * np.arange(true.light.intensity.shape[0])
    inside = true.light.state.astype(bool) & ((z_mm >= first) & (z_mm < last))[:, None, None]
    points = origin_mm + step * np.argwhere(inside)[:, ::-1]
    distances_mm = phantom.distances_mm(points)
    known, there = (distances_mm < 0).any(0), points @ rotation.T + shift_mm
    seen = sampled(found.light, there) >= found.threshold
    dice = 2 * float((known & seen).sum()) / max(float(known.sum() + seen.sum()), 1.0)
    if found.saturation is None:
        return _Piece(dice, np.zeros((2, 0)))
    vessel = distances_mm.argmin(0)
    percent, told = (nearest(found.saturation, data, there) for data in (found.saturation.intensity, found.saturation.state))
    judged = known & (told > 0)
    truth = 100 * np.array([one.saturation for one in phantom.vessels])[vessel]
    return _Piece(dice, np.stack([vessel, percent - truth])[:, judged])


def rigid(points: Floats, towards: Floats) -> tuple[Floats, Floats]:
    """Rotation [3, 3] and shift [3] that bring ``points`` [n, 3] closest to ``towards`` (Kabsch); never a mirror image."""
    a, b = points - points.mean(0), towards - towards.mean(0)
    u, _, vt = np.linalg.svd(b.T @ a)
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return rotation, towards.mean(0) - rotation @ points.mean(0)


def sampled(volume: Volume, points_mm: Floats) -> Floats:
    """Grey values at points [n, 3], trilinear; 0 outside."""
    at = (points_mm - volume.origin_mm) / volume.spacing_mm
    low = np.floor(at).astype(int)
    share, total = at - low, np.zeros(len(at))
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, share, 1 - share).prod(1)
        total += weight * _taken(volume.intensity, low + corner)
    return total


def nearest(volume: Volume, data: NDArray[np.uint8], points_mm: Floats) -> Floats:
    """``data`` on the volume's grid at the voxel nearest to each point [n, 3]; 0 outside."""
    return _taken(data, np.rint((points_mm - volume.origin_mm) / volume.spacing_mm).astype(int))


def _taken(data: NDArray[np.uint8], ijk: NDArray[np.int64]) -> Floats:
    within = ((ijk >= 0) & (ijk < data.shape[::-1])).all(1)
    values = np.zeros(len(ijk))
    i, j, k = ijk[within].T
    values[within] = data[k, j, i]
    return values


def centre_line_error_mm(found: Found, phantom: VesselPhantom) -> float:
    """Mean distance from every found centre to the nearest known line, and from every known centre to the nearest found; their mean."""
    centres = _centres(found)
    z_mm = np.unique(np.round(centres[:, 2], 3))
    signed = np.arange(min(z_mm.min(), 0.0), max(z_mm.max(), 0.0) + 0.25, 0.25)
    length = phantom.size_mm[2]
    signed = signed[(signed >= min(0.0, length)) & (signed <= max(0.0, length))]
    mirror = np.array([1, 1, np.sign(length)])
    lines = np.concatenate([vessel.centre_mm(signed * mirror[2]) * mirror for vessel in phantom.vessels])
    apart = np.concatenate([np.linalg.norm(some[:, None] - lines, axis=2) for some in np.array_split(centres, len(centres) // 200 + 1)])
    return float(apart.min(1).mean() + apart.min(0).mean()) / 2


def _centres(found: Found) -> Floats:
    """Centroids [n, 3] of each connected cross-section of a vessel in each slice across the sweep, weighted by its light."""
    grey = found.light.intensity
    labels = np.where(grey >= found.threshold, np.arange(1, grey.size + 1).reshape(grey.shape), 0)
    while True:
        before, held = labels.copy(), labels > 0
        for axis in (1, 2):
            for shift in (1, -1):
                moved = np.roll(labels, shift, axis)
                edge = [slice(None)] * 3
                edge[axis] = slice(0, 1) if shift == 1 else slice(-1, None)
                moved[tuple(edge)] = 0
                labels = np.where(held, np.maximum(labels, moved), 0)
        if np.array_equal(before, labels):
            break
    k, j, i = np.nonzero(labels)
    _, group, count = np.unique(labels[k, j, i], return_inverse=True, return_counts=True)
    weight = grey[k, j, i].astype(np.float64)
    total = np.bincount(group, weight)
    centres = np.stack([np.bincount(group, weight * at) / total for at in (i, j, k)], 1)
    return np.asarray(found.light.origin_mm + found.light.spacing_mm * centres[count >= FEWEST_VOXELS])


def _placement_mm(true: Poses, found: Poses, phantom: VesselPhantom) -> float:
    """Mean distance of where the vessels' crossings with each image were placed from where they are."""
    apart, mirror = [], np.array([1, 1, np.sign(phantom.size_mm[2])])
    for n in true.keys() & found.keys():
        z_mm = true[n].matrix[2, 3:4] * mirror[2]
        here = np.concatenate([vessel.centre_mm(z_mm) for vessel in phantom.vessels]) * mirror
        moved = _rigid_part(found[n]) @ np.linalg.inv(_rigid_part(true[n]))
        apart.append(np.linalg.norm(here @ moved[:3, :3].T + moved[:3, 3] - here, axis=1).mean())
    return float(np.mean(apart))


def _rigid_part(pose: Transform) -> Floats:
    """ImageToReference with unit axes: what writers put into the third column differs."""
    matrix = pose.matrix.copy()
    matrix[:3, :2] /= np.linalg.norm(matrix[:3, :2], axis=0)
    matrix[:3, 2] = np.cross(matrix[:3, 0], matrix[:3, 1])
    return np.asarray(matrix)
