"""Judges a written volume as a stranger would: SimpleITK reads the file, frames are resliced out of it by its header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, map_coordinates

BACKGROUND_SIGMA_PIXELS = 6.0  # both images less this blur: speckle and edges are compared, not brightness


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The voxels [k, j, i] and the 4x4 matrix from Reference (LPS) millimetres to voxel indices (i, j, k)."""
    image = sitk.ReadImage(str(path))
    to_mm = np.eye(4)
    to_mm[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    to_mm[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), np.linalg.inv(to_mm)


def resliced(voxels: np.ndarray, to_voxel: np.ndarray, image_to_reference: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The frame [axial, lateral] that the volume shows at a pose (trilinear; 0 outside)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)]).reshape(4, -1)
    i, j, k = (to_voxel @ image_to_reference @ pixels)[:3]
    return map_coordinates(voxels.astype(np.float32), [k, j, i], order=1).reshape(shape)


def correlation(a: np.ndarray, b: np.ndarray, inside: np.ndarray) -> float:
    """Of two images less their background, where ``inside``."""
    a, b = (image - gaussian_filter(image, BACKGROUND_SIGMA_PIXELS) for image in (a.astype(np.float64), b.astype(np.float64)))
    return float(np.corrcoef(a[inside], b[inside])[0, 1])


def correlations(path: Path, frames: list[tuple[np.ndarray, np.ndarray]], margin: int = 8) -> np.ndarray:
    """[frames - 2, 3]: each inner frame's reslice with the frame before, the frame itself, and the frame after.

    ``frames`` are (pixels [axial, lateral], ImageToReference 4x4). Dark pixels (no tissue, no contact) do not count.
    """
    voxels, to_voxel = read(path)
    found = []
    for at in range(1, len(frames) - 1):
        pixels, pose = frames[at]
        seen = resliced(voxels, to_voxel, pose, pixels.shape)
        inside = gaussian_filter(pixels.astype(np.float32), 3) > 8
        inside[:margin] = inside[-margin:] = inside[:, :margin] = inside[:, -margin:] = False
        found.append([correlation(seen, frames[at + step][0], inside) for step in (-1, 0, 1)])
    return np.array(found)
