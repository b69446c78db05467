"""The function that a TUS-REC submission is: displacements of all pixels and of the landmarks, from the images alone.

A displacement is T S p - S p: S takes pixel p (column, row counted from 1) to image millimetres, and T is the frame's motion there,
to the first frame (global) or to the frame before (local). Pixels are in rows, columns running fastest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.config import Direction, MotionConfig
from edge.errors import SonosweepError
from edge.files.tus_rec import FRAMES_PER_S, read_calibration
from edge.messages import Frame, Geometry
from edge.motion import MotionSource, open_motion
from edge.motion.accuracy import CANONICAL_SIGN, Matrices, chain_of_steps
from edge.transform import motion_parameters

Displacements = NDArray[np.float32]


class BadScan(SonosweepError):
    """Images or landmarks do not have the challenge's form."""


def predict_ddfs(
    frames: NDArray[np.uint8],
    landmark: NDArray[Any],
    data_path_calib: str | Path,
    device: object = None,
    *,
    model: str | Path,
    direction: Direction = "+",
) -> tuple[Displacements, Displacements, Displacements, Displacements]:
    """Global and local displacements of a scan: GP [n - 1, 3, pixels], GL [3, landmarks], LP, LL, float32, mm, in the challenge's order.

    ``frames`` uint8 [n, height, width]; ``landmark`` [k, 3]: frame from 0, column and row from 1; ``data_path_calib``: calib_matrix.csv.
    ``device`` is the challenge's argument: networks run where their backend runs. ``model``: the bundle; bind it, and the direction
    of the scan (speckle cannot tell it), with ``functools.partial``. ``BadScan``, ``BadTusRec``, and what opening a bundle raises.
    """
    pixel_to_mm, _ = read_calibration(Path(data_path_calib))
    source = open_motion(MotionConfig(source="network", model=str(model)))
    return displacements(estimate(source, frames, pixel_to_mm, direction), frames.shape, landmark, pixel_to_mm)


def estimate(source: MotionSource, frames: NDArray[np.uint8], pixel_to_mm: Matrices, direction: Direction = "+") -> Matrices:
    """The chain [n, 4, 4] (CenterToFirst) that a relative source finds in a scan [n, height, width]; ``direction`` turns it.

    ``pixel_to_mm`` [4, 4]: (column, row, 0, 1) counted from 1 to image millimetres, of the calibration table.
    """
    if frames.ndim != 3 or frames.dtype != np.uint8 or len(frames) < 2:
        raise BadScan(f"a scan is uint8 [n, height, width] of two or more images, not {frames.dtype} {frames.shape}")
    spacing_mm = float(pixel_to_mm[0, 0]), float(pixel_to_mm[1, 1])
    geometry = Geometry(width=frames.shape[2], height=frames.shape[1], spacing_mm=spacing_mm)
    steps = []
    for index, image in enumerate(frames):
        at_ns = round(index * 1e9 / FRAMES_PER_S)
        frame = Frame(boot_id=0, sweep=0, sequence=index, timestamp_ns=at_ns, geometry=geometry, pixels=image)
        said = source.step(frame, image, 1) if index else source.start(frame, image)
        if said.center_to_previous is not None:
            steps.append(motion_parameters(said.center_to_previous))
    return chain_of_steps(np.array(steps) * (CANONICAL_SIGN if direction == "-" else 1))


def displacements(
    chain: Matrices, shape: tuple[int, ...], landmark: NDArray[Any], pixel_to_mm: Matrices
) -> tuple[Displacements, Displacements, Displacements, Displacements]:
    """What :func:`predict_ddfs` answers, of any chain of a scan of ``shape`` [n, height, width]."""
    frames, height, width = shape
    marks = np.asarray(landmark).reshape(-1, 3)
    inside = (marks >= (0, 1, 1)).all() and (marks <= (frames - 1, width, height)).all()
    if not inside:
        raise BadScan(f"landmarks are (frame from 0, column from 1, row from 1) within {frames} images of {width} x {height}")
    centre = np.eye(4)  # from Center (ours) to image millimetres
    centre[:3, 3] = (pixel_to_mm @ ((width + 1) / 2, (height + 1) / 2, 0, 1))[:3]
    local = np.linalg.inv(chain[:-1]) @ chain[1:]
    every = [centre @ motion @ np.linalg.inv(centre) - np.eye(4) for motion in (chain[1:], local)]
    columns, rows = np.meshgrid(np.arange(1, width + 1), np.arange(1, height + 1))
    pixels = pixel_to_mm @ np.stack([columns.ravel(), rows.ravel(), 0 * rows.ravel(), 1 + 0 * rows.ravel()])
    dense, sparse = [], []
    for moved in every:
        field = np.empty((frames - 1, 3, pixels.shape[1]), np.float32)
        for index, matrix in enumerate(moved):
            field[index] = matrix[:3] @ pixels
        dense.append(field)
        sparse.append(_at_landmarks(moved, marks, pixel_to_mm))
    return dense[0], sparse[0], dense[1], sparse[1]


def _at_landmarks(moved: Matrices, marks: NDArray[Any], pixel_to_mm: Matrices) -> Displacements:
    """[3, landmarks]; the first frame has not moved."""
    answer = np.zeros((3, len(marks)), np.float32)
    for index, (frame, column, row) in enumerate(marks):
        if frame > 0:
            answer[:, index] = moved[int(frame) - 1][:3] @ (pixel_to_mm @ (column, row, 0, 1))
    return answer
