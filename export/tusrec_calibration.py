"""TUS-REC's calibration file and its coordinates: pixels counted from 1, image millimetres, tracking tool, camera."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.motion.accuracy import Matrices

Floats = NDArray[np.float64]
HEADS = ("scaling_from_pixel_to_mm", "spatial_calibration_from_image_coordinate_system_to_tracking_tool_coordinate_system")


class BadCalibration(SonosweepError):
    """A file is not a calibration as TUS-REC writes them."""


@dataclass(frozen=True)
class Calibration:
    """``pixel_to_mm`` [4, 4]: (column, row, 0, 1) counted from 1 to image millimetres. ``image_to_tool`` [4, 4]: rigid, from there."""

    pixel_to_mm: Floats
    image_to_tool: Floats

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Lateral, axial."""
        return float(self.pixel_to_mm[0, 0]), float(self.pixel_to_mm[1, 1])

    def centre_mm(self, width: int, height: int) -> Floats:
        """[4, 4]: from Center (ours: millimetres about the image's centre) to image millimetres."""
        matrix = np.eye(4)
        matrix[:3, 3] = (self.pixel_to_mm @ ((width + 1) / 2, (height + 1) / 2, 0, 1))[:3]
        return matrix


def read_calibration(path: Path) -> Calibration:
    """``calib_matrix.csv``: a head and four rows of four numbers, twice. ``BadCalibration`` says what is wrong."""
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
        values = np.array([[float(cell) for cell in row[:4]] for index, row in enumerate(rows) if index % 5])
    except OSError as wrong:
        raise BadCalibration(f"{path}: {wrong.strerror}; name TUS-REC's calib_matrix.csv") from wrong
    except (ValueError, UnicodeDecodeError, csv.Error) as wrong:
        raise BadCalibration(f"{path}: is not TUS-REC's calib_matrix.csv: {wrong}") from wrong
    if values.shape != (8, 4) or not np.isfinite(values).all():
        raise BadCalibration(f"{path}: holds {values.shape} numbers; a head and four rows of four, twice, are TUS-REC's calib_matrix.csv")
    calibration = Calibration(values[:4], values[4:])
    turn = calibration.image_to_tool[:3, :3]
    if min(calibration.spacing_mm) <= 0 or np.abs(turn @ turn.T - np.eye(3)).max() > 1e-2 or np.linalg.det(turn) < 0:
        raise BadCalibration(f"{path}: needs pixel sizes above 0 and a rigid image-to-tool transform; got {values.tolist()}")
    return calibration


def write_calibration(path: Path, calibration: Calibration) -> None:
    """As ``read_calibration`` reads it."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        for head, matrix in zip(HEADS, (calibration.pixel_to_mm, calibration.image_to_tool), strict=True):
            out.writerow([head])
            out.writerows(matrix.tolist())


def chain_of_tforms(tforms: Floats, calibration: Calibration, width: int, height: int) -> Matrices:
    """Our chain (CenterToFirst [n, 4, 4]) of TUS-REC's ``tforms`` [n, 4, 4] (tracking tool to camera)."""
    image_to_camera = tforms @ calibration.image_to_tool @ calibration.centre_mm(width, height)
    image_to_camera[:, :3, :3] = _orthonormal(image_to_camera[:, :3, :3])
    return np.asarray(np.linalg.inv(image_to_camera[0]) @ image_to_camera)


def tforms_of_chain(chain: Matrices, calibration: Calibration, width: int, height: int) -> Floats:
    """The other way round, with the camera's axes in the tool's first place."""
    to_tool = calibration.image_to_tool @ calibration.centre_mm(width, height)
    return np.asarray(to_tool @ chain @ np.linalg.inv(to_tool))


def _orthonormal(turns: Floats) -> Floats:
    """Written with a few digits, calibrations are not quite rigid."""
    u, _, vt = np.linalg.svd(turns)
    return np.asarray(u @ vt)
