"""TUS-REC's files: HDF5 of frames and tracker transforms with a calibration table, read as training sweeps and written.

Layout: ``frames`` [n, H, W] uint8 and ``tforms`` [n, 4, 4] (tracking tool to camera) in one file, or ``tforms`` in a file of the
same name in a folder ``transfs`` beside the folder of the frames. Pixels are counted from 1, lateral first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.files.atomic import replacing
from edge.motion.accuracy import Matrices, chain_of_poses
from edge.motion.resample import Resampler
from edge.transform import Transform
from export.training.pieces import pieces_of, window_chain
from export.training.sweeps import TrainingSweep, Window

FRAMES_PER_S = 20.0
COUNTED_FROM_1 = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64)
HEADINGS = (
    "scaling_from_pixel_to_mm",
    "spatial_calibration_from_image_coordinate_system_to_tracking_tool_coordinate_system",
)


class BadTusRec(SonosweepError):
    """A file is not laid out as TUS-REC's are, or cannot be read here."""


def hdf5() -> Any:
    """The library h5py; ``BadTusRec`` where it is not installed."""
    try:
        import h5py  # type: ignore[import-untyped,unused-ignore]
    except ImportError as missing:
        raise BadTusRec("HDF5 files need h5py: pip install h5py") from missing
    return h5py


def read_calibration(path: Path) -> tuple[Matrices, Matrices]:
    """Pixels to millimetres, and image millimetres to the tracking tool: two 4x4 of ``calib_matrix.csv``."""
    try:
        lines = [line.split(",") for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as wrong:
        raise BadTusRec(f"{path}: cannot be read ({wrong}); name the calib_matrix.csv of the data set") from wrong
    rows = [[float(cell) for cell in cells] for cells in lines if len(cells) >= 4 and all(map(_number, cells[:4]))]
    table = np.array([row[:4] for row in rows])
    if table.shape != (8, 4) or not np.array_equal(table[3::4], [[0, 0, 0, 1]] * 2):
        raise BadTusRec(f"{path}: holds no two 4x4 matrices (scale, then image to tool); name the calib_matrix.csv of the data set")
    return table[:4], table[4:]


def read_tus_rec(path: Path, calibration: Path, window: Window | None = None) -> list[TrainingSweep]:
    """The scan in ``path`` as sweeps of one direction each, canonical. ``BadTusRec`` where it is none."""
    window, library = window or Window(), hdf5()
    scale, to_tool = read_calibration(calibration)
    try:
        with library.File(path) as file:
            tforms = _transforms(path, file, library)
            frames = file["frames"]
            if frames.ndim != 3 or frames.dtype != np.uint8 or tforms.shape != (len(frames), 4, 4):
                raise BadTusRec(f"{path}: frames {frames.dtype} {frames.shape} and tforms {tforms.shape} do not belong together")
            spacing_mm = float(scale[0, 0]), float(scale[1, 1])
            resample = Resampler(window.width, window.height, window.spacing_mm)
            windows = np.stack([np.rint(resample(frame, spacing_mm)).astype(np.uint8) for frame in frames])
            height, width = frames.shape[1:]
    except (OSError, KeyError) as wrong:
        raise BadTusRec(f"{path}: is not a scan of TUS-REC ({wrong}); give HDF5 with frames and tforms") from wrong
    poses = [Transform("Image", "Reference", tform @ to_tool @ scale @ COUNTED_FROM_1) for tform in tforms]
    chain = window_chain(chain_of_poses(poses, width, height, spacing_mm), height, spacing_mm[1], window)
    return pieces_of(windows, chain, window, path.stem, FRAMES_PER_S)


def _transforms(path: Path, file: Any, library: Any) -> Matrices:
    if "tforms" in file:
        return np.asarray(file["tforms"], np.float64)
    with library.File(path.parent.parent / "transfs" / path.name) as beside:
        return np.asarray(beside["tforms"], np.float64)


def write_tus_rec(
    path: Path, images: NDArray[np.uint8], image_to_reference: Sequence[Transform], spacing_mm: tuple[float, float], to_tool: Matrices
) -> Path:
    """Write images [n, H, W] with their poses (pixels from 0 to mm) as TUS-REC does; answers the calibration table beside it.

    ``to_tool`` 4x4 rigid: image millimetres to the tracking tool. It is divided out of the poses, so any will do.
    """
    scale = np.diag([*spacing_mm, 1.0, 1.0])
    undone = np.linalg.inv(to_tool @ scale @ COUNTED_FROM_1)
    poses = np.stack([_rigid(pose.matrix, spacing_mm) for pose in image_to_reference])
    with replacing(path) as out, hdf5().File(out, "w") as file:
        file.create_dataset("frames", data=images)
        file.create_dataset("tforms", data=poses @ undone)
    table = path.with_name("calib_matrix.csv")
    lines = []
    for heading, matrix in zip(HEADINGS, (scale, to_tool), strict=True):
        lines += [heading, *(",".join(repr(float(value)) for value in row) for row in matrix)]
    with replacing(table) as out:
        out.write(("\n".join(lines) + "\n").encode())
    return table


def _rigid(matrix: Matrices, spacing_mm: tuple[float, float]) -> Matrices:
    """ImageToReference whose third column is the plane's normal, 1 mm long, as a calibrated tracker has it."""
    rigid = matrix.copy()
    rigid[:3, 2] = np.cross(matrix[:3, 0] / spacing_mm[0], matrix[:3, 1] / spacing_mm[1])
    return rigid


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
