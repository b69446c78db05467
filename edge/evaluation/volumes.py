"""What a wrong path does to the volume: the same frames placed along two paths, and how alike the two volumes are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.compounding import VolumeSettings, open_compounder
from edge.compounding.image import Image
from edge.evaluation.watch import Watched
from edge.files import open_sweep
from edge.files.volumes import Volume
from edge.files.voxel_grid import first_voxel, on_box
from edge.messages import Frame
from edge.motion import Step
from edge.motion.accuracy import Matrices
from edge.reconstructor import Reconstructor
from edge.transform import Transform, first_image_to_reference, image_to_center

SPACING_MM = 0.5


class GivenPoses:
    """A source of motion that knows every frame's ImageToReference beforehand, by sequence number."""

    name, relative, backend = "given", False, ""

    def __init__(self, poses: dict[int, Transform]) -> None:
        self._poses = poses

    def start(self, frame: Frame, image: Image) -> Step:
        """As every other frame."""
        return self.step(frame, image, 1)

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """The frame's pose, where it has one."""
        pose = self._poses.get(frame.sequence) if frame.modality == "bmode" else None
        return Step(image_to_reference=pose, reason="" if pose else "not compared")


def poses_along(watched: Watched, chain: Matrices) -> dict[int, Transform]:
    """ImageToReference of the compared frames along ``chain``; Reference is the first of them in millimetres."""
    to_center = image_to_center(*watched.size, watched.geometry.spacing_mm)
    center_to_reference = first_image_to_reference(watched.geometry.spacing_mm) @ to_center.inverse()
    placed = (Transform("Center", "Center", pose) for pose in chain)
    return {int(n): center_to_reference @ pose @ to_center for n, pose in zip(watched.sequences, placed, strict=True)}


def volume_along(watched: Watched, chain: Matrices, spacing_mm: float = SPACING_MM) -> Volume:
    """The sweep's B-mode volume with its frames placed along ``chain``."""
    return place(watched.path, poses_along(watched, chain), spacing_mm, watched.plus_config, watched.probe)


def place(
    path: Path, poses: dict[int, Transform], spacing_mm: float = SPACING_MM, plus_config: Path | None = None, probe: Path | None = None
) -> Volume:
    """The B-mode volume of a sweep file with its frames at ``poses`` (ImageToReference by sequence number)."""
    with open_compounder("host", VolumeSettings(spacing_mm=spacing_mm), 0) as compounder:
        reconstructor = Reconstructor(GivenPoses(poses), compounder, say_bricks=False)
        last = max(poses)
        for frame in open_sweep(path, plus_config=plus_config, probe=probe).frames():
            reconstructor.feed(frame)
            if frame.sequence >= last:
                break
        return reconstructor.volumes()["ultrasound"]


def similarity(a: Volume, b: Volume) -> tuple[float, float]:
    """Normalised cross-correlation of the grey values, and Dice's overlap of what is filled, of two volumes on one grid.

    Voxels that either volume holds count; where one of them is empty it has the value 0.
    """
    firsts = [first_voxel(volume) for volume in (a, b)]
    low = np.minimum(*firsts)
    size = np.maximum(*(first + volume.intensity.shape[::-1] for first, volume in zip(firsts, (a, b), strict=True))) - low
    grids = [on_box(volume.intensity, first, low, size) for first, volume in zip(firsts, (a, b), strict=True)]
    held = [on_box((volume.state > 0).astype(np.uint8), first, low, size) > 0 for first, volume in zip(firsts, (a, b), strict=True)]
    either = held[0] | held[1]
    x, y = (grid[either].astype(np.float32) for grid in grids)
    x, y = x - x.mean(), y - y.mean()
    together = float(np.sqrt(np.dot(x, x)) * np.sqrt(np.dot(y, y)))
    filled = float(held[0].sum() + held[1].sum())
    return float(np.dot(x, y)) / together if together > 0 else 0.0, 2 * float((held[0] & held[1]).sum()) / max(filled, 1.0)
