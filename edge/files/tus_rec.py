"""TUS-REC's scans: HDF5 of frames and tracker transforms with a calibration table, as sweeps and back.

Layout: ``frames`` [n, H, W] uint8 and ``tforms`` [n, 4, 4] (tracking tool to camera) in one file, or ``tforms`` in a file of the
same name in a folder ``transfs`` beside the folder of the frames. Pixels are counted from 1, lateral first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.atomic import replacing
from edge.files.errors import CannotWrite, MalformedFile, NoPhysicalSpacing
from edge.files.hdf5 import dataset, library, opened
from edge.files.hints import Hints
from edge.files.sweep import SweepFile
from edge.messages import BadGeometry, Frame, Geometry
from edge.transform import BadTransform, Transform

FRAMES_PER_S = 20.0
TABLE = "calib_matrix.csv"
LARGEST_TABLE = 1 << 16  # characters
COUNTED_FROM_1 = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64)
HEADINGS = (
    "scaling_from_pixel_to_mm",
    "spatial_calibration_from_image_coordinate_system_to_tracking_tool_coordinate_system",
)
Matrices = NDArray[np.float64]


class BadTusRec(MalformedFile):
    """A file is not laid out as TUS-REC's are, or cannot be read here."""


class TusRecSweep(SweepFile):
    """A scan with the poses of its tracker, where the calibration table is found (beside it, or up to three folders above) or named."""

    kind = "h5"
    frames_per_s = FRAMES_PER_S

    def __init__(self, path: Path, hints: Hints) -> None:
        """``LibraryMissing``, ``BadTusRec``, ``MalformedFile``, ``UnsupportedFile``."""
        self.path = path
        table = hints.calibration or nearest_table(path)
        self._calibration = read_calibration(table) if table else None
        with opened(path) as file:
            frames = _frames(path, file)
            self.frame_count, self._height, self._width = frames.shape
            self._tforms = transforms(path, file, self.frame_count)
        self._spacing_mm = hints.spacing_mm
        if self._calibration and not self._spacing_mm:
            scale = np.diag(self._calibration[0])
            self._spacing_mm = float(scale[0]), float(scale[1])
        self.has_poses = self._tforms is not None and self._calibration is not None
        self.description = {"calibration": str(table) if table else "none found; give --calibration calib_matrix.csv"}

    @property
    def geometry(self) -> Geometry:
        """Of every frame."""
        if self._spacing_mm is None:
            raise NoPhysicalSpacing(f"{self.path}: the pixel size is in {TABLE}, which was not found; name it with --calibration")
        geometry = Geometry(width=self._width, height=self._height, spacing_mm=self._spacing_mm)
        try:
            geometry.check()
        except BadGeometry as wrong:
            raise BadTusRec(f"{self.path}: {wrong}") from wrong
        return geometry

    def frames(self) -> Iterator[Frame]:
        """See :class:`SweepFile`. Times are those of the challenge's 20 frames/s: the files have none."""
        geometry, poses = self.geometry, self._poses()
        with opened(self.path) as file:
            frames = _frames(self.path, file)
            for number in range(self.frame_count or 0):
                yield Frame(
                    boot_id=0,
                    sweep=0,
                    sequence=number,
                    timestamp_ns=int(number * 1e9 / FRAMES_PER_S),
                    geometry=geometry,
                    pixels=np.ascontiguousarray(frames[number]),
                    pose_status="missing" if poses is None else "ok",
                    image_to_reference=None if poses is None else tuple(poses[number].matrix.reshape(-1).tolist()),
                )

    def _poses(self) -> list[Transform] | None:
        if self._tforms is None or self._calibration is None:
            return None
        return image_poses(self.path, self._tforms, self._calibration)


def image_poses(path: Path, tforms: Matrices, calibration: tuple[Matrices, Matrices]) -> list[Transform]:
    """ImageToReference (pixels from 0 to camera millimetres) of each scan transform. ``BadTusRec``."""
    scale, to_tool = calibration
    try:
        return [Transform("Image", "Reference", tform @ to_tool @ scale @ COUNTED_FROM_1) for tform in tforms]
    except BadTransform as wrong:
        raise BadTusRec(f"{path}: {str(wrong)[:200]}") from wrong


def nearest_table(path: Path) -> Path | None:
    """The calibration table of the scan ``path``: beside it, or up to three folders above."""
    return next((folder / TABLE for folder in path.absolute().parents[:4] if (folder / TABLE).is_file()), None)


def check_table(path: Path, spacing_mm: tuple[float, float], to_tool: Matrices) -> None:
    """``CannotWrite`` where the table of a new scan ``path`` would give other scans of its folder another calibration than they have."""
    table, found = path.with_name(TABLE), nearest_table(path)
    if found is not None and _holds(found, _scale(spacing_mm), to_tool):
        return
    if table.exists():
        raise CannotWrite(f"{table}: holds another calibration, and scans may be read with it; write the scan into a folder of its own")
    others = [one.name for one in path.parent.glob("*.h5") if one.name != path.name and not one.name.endswith(".ipasc.h5")]
    if others:
        raise CannotWrite(f"{table}: {min(others)} lies there, and would be read with it; write the scan into a folder of its own")


def read_calibration(path: Path) -> tuple[Matrices, Matrices]:
    """Pixels to millimetres, and image millimetres to the tracking tool: two 4x4 of ``calib_matrix.csv``."""
    try:
        with path.open() as file:
            lines = [line.split(",") for line in file.read(LARGEST_TABLE).splitlines()]
    except (OSError, UnicodeDecodeError) as wrong:
        raise BadTusRec(f"{path}: cannot be read ({wrong}); name the calib_matrix.csv of the data set") from wrong
    rows = [[float(cell) for cell in cells[:4]] for cells in lines if len(cells) >= 4 and all(map(_number, cells[:4]))]
    table = np.array(rows)
    if table.shape != (8, 4) or not np.isfinite(table).all() or not np.array_equal(table[3::4], [[0, 0, 0, 1]] * 2):
        raise BadTusRec(f"{path}: holds no two 4x4 matrices (scale, then image to tool); name the calib_matrix.csv of the data set")
    scale, to_tool = table[:4], table[4:]
    turn = to_tool[:3, :3]
    if min(scale[0, 0], scale[1, 1]) <= 0 or np.abs(turn @ turn.T - np.eye(3)).max() > 1e-2 or np.linalg.det(turn) < 0:
        raise BadTusRec(f"{path}: needs pixel sizes above 0 and a rigid image-to-tool transform; name the calib_matrix.csv of the data set")
    return scale, to_tool


def transforms(path: Path, file: Any, count: int) -> Matrices | None:
    """``tforms`` [n, 4, 4] of the file, or of the one beside it; None where there are none. ``MalformedFile``."""
    if "tforms" in file:
        return np.asarray(dataset(path, file, "tforms", "f", (count, 4, 4))[()], np.float64)
    beside = path.parent.parent / "transfs" / path.name
    if not beside.is_file():
        return None
    with opened(beside) as other:
        return np.asarray(dataset(beside, other, "tforms", "f", (count, 4, 4))[()], np.float64)


def write_tus_rec(
    path: Path, images: NDArray[np.uint8], image_to_reference: Sequence[Transform], spacing_mm: tuple[float, float], to_tool: Matrices
) -> Path:
    """Write images [n, H, W] with their poses (pixels from 0 to mm) as TUS-REC does; answers the calibration table beside it.

    ``to_tool`` 4x4 rigid: image millimetres to the tracking tool. It is divided out of the poses, so any will do. A table that says
    the same stays as it is. ``CannotWrite``: see :func:`check_table`.
    """
    check_table(path, spacing_mm, to_tool)
    scale, table = _scale(spacing_mm), path.with_name(TABLE)
    undone = np.linalg.inv(to_tool @ scale @ COUNTED_FROM_1)
    poses = np.stack([_rigid(pose.matrix, spacing_mm) for pose in image_to_reference])
    with replacing(path) as out, library().File(out, "w") as file:
        file.create_dataset("frames", data=images)
        file.create_dataset("tforms", data=poses @ undone)
    if table.exists():
        return table
    lines = []
    for heading, matrix in zip(HEADINGS, (scale, to_tool), strict=True):
        lines += [heading, *(",".join(repr(float(value)) for value in row) for row in matrix)]
    with replacing(table) as out:
        out.write(("\n".join(lines) + "\n").encode())
    return table


def _scale(spacing_mm: tuple[float, float]) -> Matrices:
    return np.diag([*spacing_mm, 1.0, 1.0])


def _holds(table: Path, scale: Matrices, to_tool: Matrices) -> bool:
    try:
        held = read_calibration(table)
    except BadTusRec:
        return False
    return np.array_equal(held, (scale, to_tool))


def _frames(path: Path, file: Any) -> Any:
    frames = dataset(path, file, "frames", "u", (None, None, None))
    if frames.dtype != np.uint8 or not len(frames) or not (2 <= frames.shape[1] <= 4096 and 2 <= frames.shape[2] <= 4096):
        raise BadTusRec(f"{path}: frames {frames.dtype} {frames.shape} are no scan; TUS-REC's are uint8 [n, rows, columns]")
    return frames


def _rigid(matrix: Matrices, spacing_mm: tuple[float, float]) -> Matrices:
    """ImageToReference whose third column is the plane's normal, 1 mm long, as a calibrated tracker has it."""
    rigid: Matrices = matrix.copy()
    rigid[:3, 2] = np.cross(matrix[:3, 0] / spacing_mm[0], matrix[:3, 1] / spacing_mm[1])
    return rigid


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
