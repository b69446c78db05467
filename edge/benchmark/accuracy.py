"""How close each way of filling a volume comes to a known truth: the simulator's phantom, sliced along known poses without speckle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.benchmark.compounding import opened
from edge.benchmark.pasting import Floats, Grid, Mask, Pasted, fill_gaussian, fill_sticks
from edge.benchmark.records import Plan, Record, record
from edge.simulation import Freehand, SimulatedSweep, SimulationSettings

CASES = ((0.5, 0.4), (0.25, 0.4), (0.25, 0.8))  # voxel size, mean step between frames, mm
SLICES = 8  # evaluated at a time
QUICK_SIZE = (160, 160)
OURS = "sonosweep"


@dataclass(frozen=True)
class Filled:
    """One volume [k, j, i] on the case's grid, where it holds a value, and the frames/s at which it was made (None: not timed)."""

    way: str
    values: Floats
    known: Mask
    frames_per_s: float | None = None


class Case:
    """One sweep of a phantom whose every point is known, and the voxels in which it is compared."""

    def __init__(self, frames: int, image_size: tuple[int, int], spacing_mm: float, step_mm: float) -> None:
        settings = SimulationSettings(frames=frames, image_size=image_size, hand=Freehand(step_mm=step_mm), speckle=False)
        self.sweep = SimulatedSweep(settings)
        self.images = [frame.pixels for frame in self.sweep]
        self.matrices = [pose.matrix for pose in self.sweep.poses]
        width, height = image_size
        corners = np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)])
        points = [corners @ matrix[:3, :2].T + matrix[:3, 3] for matrix in self.matrices]
        self.grid = Grid.around(np.concatenate(points), spacing_mm)
        self.step_mm = step_mm
        self._corners_mm = points

    @cached_property
    def truth(self) -> Floats:
        """Grey values at the voxel centres, 0..255, [k, j, i]."""
        out = np.empty(self.grid.shape, np.float32)
        for k in range(0, len(out), SLICES):
            out[k : k + SLICES] = self.sweep.truth(self.grid.centres_mm(k, min(k + SLICES, len(out))))
        return out

    @cached_property
    def swept(self) -> Mask:
        """Voxels that lie between the planes of two consecutive frames, inside both images."""
        inside = np.zeros(self.grid.shape, np.bool_)
        size = self.sweep.settings.image_size
        for n in range(len(self.matrices) - 1):
            z = np.concatenate(self._corners_mm[n : n + 2])[:, 2] / self.grid.spacing_mm - self.grid.first[2]
            first, last = int(np.floor(z.min())), int(np.ceil(z.max())) + 1
            before, in_before = self._seen(self.matrices[n], size, first, last)
            after, in_after = self._seen(self.matrices[n + 1], size, first, last)
            inside[first:last] |= in_before & in_after & (before * after <= 0)
        return inside

    def _seen(self, matrix: NDArray[np.float64], size: tuple[int, int], first: int, last: int) -> tuple[Floats, Mask]:
        """Distance in front of an image's plane (mm) of the voxels in slices ``first`` to ``last`` - 1, and which lie over the image."""
        to_image = matrix.copy()
        normal = np.cross(matrix[:3, 0], matrix[:3, 1])
        to_image[:3, 2] = normal / np.linalg.norm(normal)
        rows = np.linalg.inv(to_image)[:3]
        k, j, i = np.ogrid[first:last, : self.grid.shape[1], : self.grid.shape[2]]
        axes = [((at + start) * self.grid.spacing_mm).astype(np.float32) for at, start in zip((i, j, k), self.grid.first, strict=True)]
        u, v, d = (sum(np.float32(row[a]) * axes[a] for a in range(3)) + np.float32(row[3]) for row in rows)
        return d, (u >= 0) & (u <= size[0] - 1) & (v >= 0) & (v <= size[1] - 1)


def accuracy(plan: Plan) -> Iterator[Record]:
    """Stage ``accuracy``: error in grey levels of our volume and of pasting, each without and with holes filled."""
    for spacing_mm, step_mm in CASES:
        frames = max(int(plan.truth_frames * CASES[0][1] / step_mm), 8)
        case = Case(frames, QUICK_SIZE if plan.quick else SimulationSettings().image_size, spacing_mm, step_mm)
        yield from compared(case, [*ours(case, plan), *pasted(case)])


def ours(case: Case, plan: Plan) -> Iterator[Filled]:
    """The engine's volume as it comes, and with its holes filled."""
    with opened(plan, case.grid.spacing_mm) as volume:
        begun = time.perf_counter()
        for n, (image, matrix) in enumerate(zip(case.images, case.matrices, strict=True)):
            volume.place(image, matrix, bridge=n > 0)
        rate = len(case.images) / (time.perf_counter() - begun)
        for way in (OURS, f"{OURS}, holes filled"):
            if way != OURS:
                volume.fill_holes()
            dense = volume.dense()
            start = (np.rint(dense.origin_mm / case.grid.spacing_mm).astype(int) - case.grid.first)[::-1]
            box = tuple(slice(a, a + n) for a, n in zip(start, dense.intensity.shape, strict=True))
            values, known = np.zeros(case.grid.shape, np.float32), np.zeros(case.grid.shape, np.bool_)
            values[box], known[box] = dense.intensity, dense.state > 0
            yield Filled(way, values, known, rate if way == OURS else None)


def pasted(case: Case) -> Iterator[Filled]:
    """Pasting to the nearest voxel and with trilinear weights, and both with the two hole fillings of PLUS."""
    for name in ("nearest", "linear"):
        volume = Pasted(case.grid, linear=name == "linear")
        begun = time.perf_counter()
        for image, matrix in zip(case.images, case.matrices, strict=True):
            volume.paste(image, matrix)
        rate = len(case.images) / (time.perf_counter() - begun)
        values, known = volume.volume()
        yield Filled(f"{name} pasting", values, known, rate)
        yield Filled(f"{name} pasting, Gaussian 5/1/0.1", *fill_gaussian(values, known))
        yield Filled(f"{name} pasting, stick 9/1", *fill_sticks(values, known, case.swept))


def compared(case: Case, volumes: list[Filled]) -> Iterator[Record]:
    """One record per volume: mean absolute and root mean square error against the truth, in grey levels.

    ``mae``, ``rms`` over the swept voxels that this volume holds (``share_covered`` of them); ``_all`` over all swept voxels, an
    empty one counting as black; ``_common`` over those that every volume holds.
    """
    swept, truth = case.swept, case.truth
    common = swept & np.logical_and.reduce([volume.known for volume in volumes])
    for volume in volumes:
        error = np.where(volume.known, volume.values, 0) - truth
        covered = swept & volume.known
        errors: dict[str, float] = {}
        for suffix, where in (("", covered), ("_all", swept), ("_common", common)):
            found = error[where].astype(np.float64)
            errors |= {f"mae{suffix}": float(np.abs(found).mean()), f"rms{suffix}": float(np.sqrt((found**2).mean()))}
        yield record(
            "accuracy",
            volume.way,
            None,
            case.grid.spacing_mm,
            frames_per_s=volume.frames_per_s,
            step_mm=case.step_mm,
            **errors,
            share_covered=float(covered.sum() / swept.sum()),
            voxels_swept=int(swept.sum()),
        )
