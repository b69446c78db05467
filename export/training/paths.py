"""Freehand paths for training: motion from frame to frame with the statistics of tracked sweeps, which differ from sweep to sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.motion.accuracy import Matrices, chain_of_steps

Random = np.random.Generator
Floats = NDArray[np.float64]
RESTORING = 0.03  # share of an angle (of a depth) that the hand takes back in one frame


@dataclass(frozen=True)
class Hand:
    """How one sweep is moved; per frame, in mm and degrees."""

    step_mm: float  # mean elevational step
    speed_sd: float  # slow variation of the speed, share of the mean
    shake_mm: float  # fast variation of the elevational step
    lateral_mm: tuple[float, float, float]  # mean, sd of the wandering, amplitude of an S
    axial_mm: float
    turn_deg: tuple[float, float, float]
    turn_frames: float  # for how long a rotation goes on
    tremor_mm: float
    dropped: float  # share of steps over a lost frame
    pauses: float  # pauses per 100 frames
    s_frames: float  # length of one S

    @classmethod
    def drawn(cls, random: Random, tilting: bool) -> Hand:
        """A hand as in the field's records; ``tilting`` ones rotate out of plane by 0.3 degrees a frame."""
        u = random.uniform
        slow = random.random() < 0.2
        out_of_plane = 0.3 * random.lognormal(0, 0.15, 2) if tilting else 0.12 * random.lognormal(0, 0.35, 2)
        return cls(
            step_mm=u(0.08, 0.35) if slow else u(0.3, 1.2),
            speed_sd=u(0.1, 0.55),
            shake_mm=0.05 + 0.3 * random.random() ** 2,
            lateral_mm=(0.12 * random.standard_normal(), 0.22 * random.lognormal(0, 0.6), u(0.1, 0.7) if random.random() < 0.35 else 0),
            axial_mm=0.08 * random.lognormal(0, 0.5),
            turn_deg=(*out_of_plane, 0.07 * random.lognormal(0, 0.5)),
            turn_frames=u(1.0, 5.0),
            tremor_mm=u(0.0, 0.04),
            dropped=u(0.02, 0.2) if random.random() < 0.4 else 0,
            pauses=u(0.5, 2.5) if random.random() < 0.25 else 0,
            s_frames=random.choice([u(20, 60), u(60, 250)]),
        )


def freehand_motion(frames: int, hand: Hand, random: Random) -> Floats:
    """Motion [frames - 1, 6] in mm and rad about the window's centre."""
    n = frames - 1
    speed = 1 + hand.speed_sd * wandering(n, random.uniform(4, 20), random)
    for _ in range(random.poisson(hand.pauses * n / 100)):
        first = random.integers(0, n)
        speed[first : first + random.integers(3, 12)] *= random.uniform(0, 0.1)
    elevational = hand.step_mm * speed + hand.shake_mm * wandering(n, random.uniform(0.4, 1.5), random)
    mean, sd, bow = hand.lateral_mm
    phase = random.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(n) / hand.s_frames
    lateral = mean + sd * wandering(n, random.uniform(2, 8), random) + bow * np.cos(phase)
    axial = returning(hand.axial_mm * wandering(n, 1.5, random))
    turns = [returning(sd * wandering(n, hand.turn_frames, random)) for sd in hand.turn_deg]
    lost = 1 + (random.random(n) < hand.dropped) * random.choice([1, 1, 1, 2], n)
    motion = np.stack([lateral, axial, elevational, *np.deg2rad(turns)], 1) * lost[:, None]
    motion[:, :3] += hand.tremor_mm * np.diff(random.standard_normal((frames, 3)), axis=0)
    return motion


def placed(motion: Floats, random: Random) -> Matrices:
    """The chain [n, 4, 4] of poses from a random first tilt, moved so that the sweep lies about the origin along z.

    World: x lateral, y depth below the skin, z elevational, mm; the poses are those of the window's centre, y = 0 being its depth.
    """
    chain = chain_of_steps(motion)
    first = chain_of_steps(np.concatenate([np.zeros(3), np.deg2rad(random.normal(0, (3, 3, 3)))])[None])[1]
    chain = first @ chain
    chain[:, :3, 3] -= chain[:, :3, 3].mean(0)
    return np.asarray(chain)


def wandering(count: int, frames: float, random: Random) -> Floats:
    """A random process [count] of unit variance that forgets itself within ``frames``."""
    keep = np.exp(-1 / frames)
    noise = random.standard_normal(count)
    value, out = random.standard_normal(), np.empty(count)
    for i in range(count):
        value = keep * value + (1 - keep**2) ** 0.5 * noise[i]
        out[i] = value
    return out


def returning(steps: Floats) -> Floats:
    """Steps [n] with a pull back to where they began, so that the sum stays within what a hand can do."""
    place, out = 0.0, np.empty(len(steps))
    for i, step in enumerate(steps):
        out[i] = step - RESTORING * place
        place += out[i]
    return out
