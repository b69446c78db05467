"""A short life of many volumes for the sanitizers: ``python sanitized_workload.py LIBRARY [mistake]``.

``mistake`` claims one row more than the image has: the sanitizers must end the process, or they see nothing.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
from volume_cases import pose, sweep

from edge.compounding import COMPOUNDINGS, BadPose, VolumeFull, VolumeSettings, host, native
from edge.compounding.scan_conversion import ScanTable, Sector
from edge.motion.resample import Resampler

library = native.load(Path(sys.argv[1]))
native.load = lambda path=native.LIBRARY: library  # type: ignore[assignment]


def far_and_odd_poses() -> list[np.ndarray]:
    """Poses at the limits of what is taken, and beyond."""
    poses = [pose(origin_mm=(sign * 8 * 0.3 * 2.0**n, 1, 2)) for n in (10, 20, 21.9, 22, 30, 60, 300) for sign in (1, -1)]
    poses += [pose(pixel_mm=(scale, 0.3)) for scale in (1e-300, 1e-9, 0.3 / 511, 0.3 / 513, 5.0, 1e3, 1e9, 1e150)]
    skewed = pose()
    skewed[:3, 1] = skewed[:3, 0] + 1e-5 * skewed[:3, 1]
    return [*poses, skewed]


def live(variant: str, compounding: str) -> None:
    """Frames with and without masks and gaps, from three sides, then everything a volume answers."""
    settings = VolumeSettings(spacing_mm=0.3, compounding=compounding, max_gap_mm=3.0, memory_limit_mib=64)
    valid = np.ones((34, 45), np.uint8)
    valid[10:14, 10:30] = 0
    with host.Compounder(settings, 2, variant) as volume:
        for towards, channel in product((0, 1, 2), (0, 1)):
            for n, (pixels, matrix) in enumerate(sweep(towards, 3, 1.6, towards=towards)):
                volume.place(pixels, matrix, channel, valid if n == 1 else None, bridge=True)
        for matrix in far_and_odd_poses():
            try:
                volume.place(pixels, matrix, bridge=True)
            except (BadPose, VolumeFull):
                continue
        for radius in (1, 2, 3):
            volume.fill_holes(channel=1, radius_voxels=radius)
        volume.dense(channel=1)
        volume.bricks(volume.slots())
        table = ScanTable(Sector(45, 34, 10.0, 30.0, -30.0, 40.0), 0.4)
        np.asarray(volume.image(pixels, look_up=table.look_up))
        volume.image(pixels.astype(np.uint16) * 200, (50.0, 40000.0), table.look_up)
        resampled(volume, pixels)
        volume.reset()
        volume.place(pixels[:2, :2].copy(), pose())


def resampled(volume: host.Compounder, pixels: np.ndarray) -> None:
    """The kernel that makes a network's window on a device, larger and smaller than the image."""
    for spacing in (0.1, 0.9):
        resample, out = Resampler(40, 30, (0.3, 0.3)), np.empty((30, 40), np.float32)
        assert resample(pixels, (spacing, spacing)).shape == out.shape
        (columns, across), (rows, down) = resample._stacked
        sides = [(len(columns), columns.ctypes.data, across.ctypes.data), (len(rows), rows.ctypes.data, down.ctypes.data)]
        library.sono_resample(volume._open(), 40, 30, pixels.ctypes.data, pixels.shape[1], *sides[0], *sides[1], out.ctypes.data)


def rest() -> None:
    """A probe that rests until weights are halved."""
    with host.Compounder(VolumeSettings(), 1) as volume:
        for _ in range(600):
            volume.place(np.full((9, 9), 255, np.uint8), pose())


def mistake() -> None:
    """Reads one row beyond the image."""
    with host.Compounder(VolumeSettings(), 1) as volume:
        pixels, matrix = np.zeros((64, 64), np.uint8), pose()
        library.sono_place(volume._open(), pixels.ctypes.data, 64, 65, matrix.ctypes.data, 0, None, 0)


if len(sys.argv) > 2:
    mistake()
else:
    rest()
    for variant, compounding in product(host.variants(), COMPOUNDINGS):
        live(variant, compounding)
