"""The input of the compounding benchmark, as PLUS was measured with: 200 frames of log-compressed Rayleigh speckle, tilting a little."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.messages import Frame, Geometry
from edge.transform import Transform, first_image_to_reference, image_to_center, motion

PIXEL_MM = 0.2
STEP_MM = 0.3
TILT_DEG = 2.0
SWAY_MM = 0.1
PERIODS = np.array([200.0, 140.0, 170.0])  # frames of a tilt about the lateral, axial and elevational axis
Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float64]


@lru_cache(maxsize=2)
def speckle(frames: int, image_size: tuple[int, int] = (640, 480)) -> Pixels:
    """uint8 [frames, axial, lateral], read-only: fully developed speckle of 60 dB, every pixel and frame independent."""
    random = np.random.default_rng(1)
    out = np.empty((frames, image_size[1], image_size[0]), np.uint8)
    for image in out:
        power = np.maximum(random.standard_exponential(image.shape, np.float32), np.float32(1e-7))
        image[:] = np.clip(200 + np.log10(power) * np.float32(10 * 255 / 60), 0, 255)
    out.flags.writeable = False
    return out


def poses(frames: int, image_size: tuple[int, int] = (640, 480), step_mm: float = STEP_MM) -> list[Matrix]:
    """ImageToReference of each frame: steady steps, tilts of up to +-2 degrees about three axes, 0.1 mm of sway."""
    at_mm = np.arange(frames) * step_mm
    return [_pose(index, at_mm[index], image_size) for index in range(frames)]


def to_and_fro(frames: int, there: int, image_size: tuple[int, int] = (640, 480), step_mm: float = STEP_MM) -> list[Matrix]:
    """ImageToReference of a sweep that turns back after each ``there`` frames, so that its volume stops growing."""
    steps = np.arange(frames) % (2 * there)
    at = np.minimum(steps, 2 * there - steps)
    return [_pose(int(step), step * step_mm, image_size) for step in at]


def as_frames(pixels: Pixels, matrices: list[Matrix], frames_per_s: float = 60.0) -> list[Frame]:
    """The sweep as the bridge would hand it on, with its poses; the pixels are used again and again where they are fewer."""
    height, width = pixels.shape[1:]
    geometry = Geometry(width=width, height=height, spacing_mm=(PIXEL_MM, PIXEL_MM), depth_mm=(height - 1) * PIXEL_MM)
    return [
        Frame(
            boot_id=1,
            sweep=0,
            sequence=index,
            timestamp_ns=round(index * 1e9 / frames_per_s),
            last=index == len(matrices) - 1,
            geometry=geometry,
            pose_status="ok",
            image_to_reference=tuple(matrix.ravel().tolist()),
            pixels=pixels[index % len(pixels)],
        )
        for index, matrix in enumerate(matrices)
    ]


def _pose(index: int, elevational_mm: float, image_size: tuple[int, int]) -> Matrix:
    spacing_mm = (PIXEL_MM, PIXEL_MM)
    to_center = image_to_center(*image_size, spacing_mm)
    start = first_image_to_reference(spacing_mm) @ to_center.inverse()
    turn_rad = np.deg2rad(TILT_DEG) * np.sin(2 * np.pi * index / PERIODS + np.arange(3))
    shift_mm = SWAY_MM * np.sin(index / 20), SWAY_MM * np.cos(index / 25), elevational_mm
    moved = Transform("Center", "Reference", start.matrix @ motion(shift_mm, turn_rad).matrix)
    return (moved @ to_center).matrix
