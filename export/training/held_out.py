"""The simulated sweeps that networks are judged by: drawn as full images, from seeds and settings that training never uses.

Frozen: a change here makes every figure measured before it worthless.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.files import write_sweep
from edge.messages import Frame, Geometry
from edge.motion.accuracy import Matrices, chain_of_steps
from edge.motion.resample import Resampler
from edge.transform import image_to_center
from export.training.paths import Hand, freehand_motion
from export.training.pieces import window_chain
from export.training.source import WARM_UP, Look, Random, sweep_along
from export.training.speckle import SpeckleBank, Spread
from export.training.sweeps import HELD_OUT_SEED, Motion, TrainingSweep, Window, Windows

PERSISTENCE = (0.3, 0.4, 0.5, 0.6)  # of sweep i: number i modulo 4
PATH_MM = (80.0, 200.0)
# width, height, spacing of the image; radius of a convex probe's face (0: linear)
PROBES = (
    (472, 400, 0.10784, 0.0),
    (472, 400, 0.10784, 0.0),
    (400, 400, 0.108, 0.0),
    (384, 432, 0.100, 0.0),
    (480, 400, 0.110, 50.0),
)


@dataclass(frozen=True)
class HeldOutSweep:
    """``images`` uint8 [n, rows, columns] of ``spacing_mm`` (lateral, axial); ``motion`` [n - 1, 6] about the image's centre."""

    name: str
    images: Windows
    spacing_mm: tuple[float, float]
    motion: Motion
    frames_per_s: float
    persistence: float
    tilting: bool

    @property
    def chain(self) -> Matrices:
        """CenterToFirst [n, 4, 4] of the image's centre."""
        return chain_of_steps(self.motion.astype(np.float64))


@dataclass(frozen=True)
class Plan:
    """What sweep ``index`` will be: its motion [n - 1, 6] is known before an image is drawn. ``random`` draws the rest."""

    index: int
    motion: NDArray[np.float64]  # with the WARM_UP steps before the first image
    look: Look
    spread: Spread
    window: Window
    tilting: bool
    random: Random


def planned(index: int) -> Plan:
    """The plan of sweep ``index``. Every third sweep tilts by 0.3 degrees a frame."""
    random = np.random.default_rng((HELD_OUT_SEED, index))
    width, height, spacing, sector = PROBES[index % len(PROBES)]
    tilting = index % 3 == 0
    hand = replace(Hand.drawn(random, tilting), step_mm=random.uniform(0.3, 1.2), pauses=0.0)
    motion = freehand_motion(1500, hand, random)
    level = PERSISTENCE[index % len(PERSISTENCE)]
    look = replace(Look.drawn(random), persistence=level, averaged=0, sector_mm=sector)
    look = replace(look, noise_share=random.uniform(0.08, 0.25), floor_db=random.uniform(-80, -68))
    along = np.cumsum(np.linalg.norm(motion[WARM_UP:, :3], axis=1))
    steps = int(np.searchsorted(along, random.uniform(*PATH_MM))) + 1
    return Plan(index, motion[: steps + WARM_UP], look, _spread(random), Window(width, height, (spacing, spacing)), tilting, random)


def held_out_sweep(index: int, frames: int = 0) -> HeldOutSweep:
    """Sweep ``index`` of the frozen set; ``frames`` above 0 cuts it short."""
    plan = planned(index)
    motion = plan.motion[: frames - 1 + WARM_UP] if frames else plan.motion
    window, random, look = plan.window, plan.random, plan.look
    bank = SpeckleBank(plan.spread, window.height * window.spacing_mm[1], int(random.integers(2**62)))
    sweep = sweep_along(motion, bank, look, random, window, f"held_out_{index:02d}", random.uniform(20, 60), over=1)
    return HeldOutSweep(sweep.name, sweep.windows, window.spacing_mm, sweep.motion, sweep.frames_per_s, look.persistence, plan.tilting)


def _spread(random: Random) -> Spread:
    varied = random.lognormal(0, 0.12, 3)
    return Spread(
        axial_mm=0.115 * varied[0],
        lateral_mm=0.235 * varied[1],
        elevational_mm=1.2 * varied[2],
        focus_mm=random.uniform(12, 28),
        rayleigh_mm=random.uniform(22, 36),
        lateral_rayleigh_mm=random.uniform(35, 70),
        looks=int(random.choice([2, 2, 3])),
    )


def test_sweeps(n: int = 20, window: Window | None = None) -> Iterator[TrainingSweep]:
    """The first ``n`` held-out sweeps as a network sees them, one by one."""
    window = window or Window()
    resample = Resampler(window.width, window.height, window.spacing_mm)
    for index in range(n):
        sweep = held_out_sweep(index)
        windows = np.stack([np.rint(resample(image, sweep.spacing_mm)).astype(np.uint8) for image in sweep.images])
        chain = window_chain(sweep.chain, sweep.images.shape[1], sweep.spacing_mm[1], window)
        yield TrainingSweep.of_chain(windows, chain, window, sweep.name, sweep.frames_per_s)


def write_held_out_sweep(folder: Path, index: int) -> Path:
    """Held-out sweep ``index`` as an `.igs.mha` sweep with poses in ``folder``."""
    sweep = held_out_sweep(index)
    path = folder / f"{sweep.name}_p{sweep.persistence:.1f}{'_tilting' if sweep.tilting else ''}.igs.mha"
    write_sweep(path, as_frames(sweep))
    return path


def as_frames(sweep: HeldOutSweep) -> Iterator[Frame]:
    """Its frames with their true poses, as if tracked."""
    rows, columns = sweep.images.shape[1:]
    geometry = Geometry(width=columns, height=rows, spacing_mm=sweep.spacing_mm, depth_mm=(rows - 1) * sweep.spacing_mm[1])
    to_center = image_to_center(columns, rows, sweep.spacing_mm).matrix
    placed = np.linalg.inv(to_center @ np.diag([1 / sweep.spacing_mm[0], 1 / sweep.spacing_mm[1], 1, 1])) @ sweep.chain @ to_center
    for i, image in enumerate(sweep.images):
        yield Frame(
            boot_id=HELD_OUT_SEED,
            sweep=1,
            sequence=i,
            timestamp_ns=round(i * 1e9 / sweep.frames_per_s),
            last=i == len(sweep.images) - 1,
            geometry=geometry,
            pose_status="ok",
            image_to_reference=tuple(placed[i].ravel().tolist()),
            pixels=image,
        )
