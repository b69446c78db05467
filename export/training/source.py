"""The training source: random tissue along random freehand paths, drawn straight at the network's window, in torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from edge.motion.accuracy import CANONICAL_SIGN, Matrices
from export.training.augment import persisting
from export.training.fields import COARSE, Points
from export.training.paths import Hand, freehand_motion, placed
from export.training.phantoms import Tissue
from export.training.speckle import SpeckleBank, Spread
from export.training.sweeps import TrainingSweep, Window

Random = np.random.Generator
WARM_UP = 3  # frames before the first, that its persistence remembers
SWEEPS_PER_BANK = 16
FRAMES_AT_ONCE = 2  # more fall out of the cache: 1.4 s per sweep at 6, 1.2 at 2
LN10_10 = float(np.log(10) / 10)


@dataclass(frozen=True)
class Look:
    """How one scanner shows one sweep."""

    dynamic_range_db: float
    brightness: float  # grey value of the tissue that three quarters are darker than
    noise_share: float  # of the speckle's power, new in every frame
    floor_db: float  # of the receiver's noise
    floor_db_per_mm: float
    attenuation_db_per_mm: float
    persistence: float  # share of the frame before in each frame's grey values
    averaged: int  # frames in a plain running mean, which some scanners have instead; 0: none
    gain_jitter_db: float
    curve: tuple[float, ...]  # dB along the depth that the time-gain leaves, at even knots
    edge_db: float  # loss at the lateral edges
    line: tuple[float, float, float]  # a still line: depth in mm, dB, thickness in mm
    lost_contact: tuple[float, float]  # widest dark edge in mm, left and right
    sector_mm: float  # radius of a convex probe's face; 0: linear
    mirror: bool  # draw the speckle's raster the other way round

    @classmethod
    def drawn(cls, random: Random) -> Look:
        """A scanner and a setting of it."""
        u = random.uniform
        lost = (u(0, 9), u(0, 9)) if random.random() < 0.35 else (0.0, 0.0)
        return cls(
            dynamic_range_db=u(48, 72),
            brightness=u(80, 150),
            noise_share=u(0.04, 0.45),
            floor_db=u(-75, -55),
            floor_db_per_mm=u(0.0, 0.2),
            attenuation_db_per_mm=u(0.0, 0.4),
            persistence=u(0.1, 0.65) if random.random() < 0.85 else 0.0,
            averaged=int(random.integers(2, WARM_UP + 2)) if random.random() < 0.15 else 0,
            gain_jitter_db=u(0.0, 0.5),
            curve=tuple(random.normal(0, 3, 6)),
            edge_db=u(0, 6),
            line=(u(0.2, 4), u(3, 20), u(0.1, 0.4)) if random.random() < 0.5 else (0.0, 0.0, 1.0),
            lost_contact=lost,
            sector_mm=u(25, 70) if random.random() < 0.2 else 0.0,
            mirror=bool(random.random() < 0.5),
        )


def drawn_spread(random: Random) -> Spread:
    """A point spread function and a number of looks, as probes differ."""
    varied = random.lognormal(0, 0.2, 3)
    return Spread(
        axial_mm=0.12 * varied[0],
        lateral_mm=0.245 * varied[1],
        elevational_mm=random.uniform(0.9, 1.8) * random.lognormal(0, 0.1),
        focus_mm=random.uniform(10, 32),
        rayleigh_mm=random.uniform(18, 40),
        lateral_rayleigh_mm=random.uniform(30, 80),
        looks=int(random.choice([1, 2, 2, 3, 3, 4, 5])),
    )


def render(
    chain: Matrices, tissue: Tissue, bank: SpeckleBank, look: Look, random: Random, window: Window, over: int = 2
) -> NDArray[np.uint8]:
    """Windows uint8 [n, H, W] of all poses ``chain`` [n, 4, 4] of the window's centre but the first :data:`WARM_UP`.

    Height and width are multiples of 8; each pixel is the mean of ``over`` x ``over`` samples.
    """
    device = bank.device
    raster, plain = _raster(window, over, device), _raster(window, 1, device, COARSE)
    static_db = _static_db(look, window, device)
    offset_mm = random.uniform(0, 40, 2)
    lost = _lost_contact(look, len(chain), random)
    gain = look.gain_jitter_db * np.cumsum(random.standard_normal(len(chain))) * 0.3
    noise = torch.Generator(device).manual_seed(int(random.integers(2**62)))
    grey: list[Tensor] = []
    for first in range(0, len(chain), FRAMES_AT_ONCE):
        part = slice(first, min(first + FRAMES_AT_ONCE, len(chain)))
        poses = torch.as_tensor(chain[part, :3], dtype=torch.float32, device=device)
        echo = tissue.echo_db(_points(poses, *plain, window.center_below_edge_mm))
        echo = echo[:, : window.height, : window.width] + static_db
        if not first:
            gain += (look.brightness / 255 - 1) * look.dynamic_range_db - float(echo[0].flatten().quantile(0.75))
        echo = echo + _gain_db(look, gain[part], lost[part], window, device)
        p = _points(poses, *raster, window.center_below_edge_mm)
        fresh = torch.as_tensor(random.integers(7, 1000, len(poses)), dtype=torch.int32, device=device)
        x = (-p.x if look.mirror else p.x) + float(offset_mm[0])
        power = bank.power(x, p.y, p.z + float(offset_mm[1]), fresh, look.noise_share)
        if over > 1:
            echo = interpolate(echo[:, None], scale_factor=over, mode="bilinear")[:, 0]
        power *= (echo * LN10_10).exp_()
        depth = raster[1].add(window.center_below_edge_mm)[:, None]
        floor = ((look.floor_db + look.floor_db_per_mm * depth) * LN10_10).exp()
        power += floor * torch.empty_like(power).exponential_(generator=noise)
        shown = (power.log_() * (1 / LN10_10 / look.dynamic_range_db) + 1).clamp_(0, 1) * 255
        grey += avg_pool2d(shown[:, None], over)[:, 0]
    return _persist(grey, look, _sector(look, window, device))


def _persist(grey: list[Tensor], look: Look, mask: Tensor) -> NDArray[np.uint8]:
    """Grey values [H, W] of all frames after the scanner's memory of the frames before."""
    shown = [(held * mask + 0.5).to(torch.uint8) for held in persisting(grey, look.persistence, look.averaged)]
    return np.asarray(torch.stack(shown[WARM_UP:]).cpu().numpy())


def _raster(window: Window, over: int, device: torch.device, coarse: int = 0) -> tuple[Tensor, Tensor]:
    """Lateral [W] and axial [H] mm about the window's centre; one point more where a ``coarse`` raster must reach the edge."""
    (lateral, axial), more = window.spacing_mm, 1 if coarse else 0
    width, height = window.width * over, window.height * over
    x = (torch.arange(width + more, device=device) - (width - 1) / 2) * (lateral / over)
    y = (torch.arange(height + more, device=device) - (height - 1) / 2) * (axial / over)
    return x, y


def _points(poses: Tensor, u: Tensor, v: Tensor, centre_mm: float) -> Points:
    m = poses[:, :, :, None, None]
    x, y, z = (m[:, i, 3] + m[:, i, 0] * u[None, None, :] + m[:, i, 1] * v[None, :, None] for i in range(3))
    return Points(x, y + centre_mm, z)


def _static_db(look: Look, window: Window, device: torch.device) -> Tensor:
    """Gain that stays with the image, dB [H, W]."""
    u, v = _raster(window, 1, device)
    v = v + window.center_below_edge_mm
    knots = torch.tensor(look.curve, dtype=torch.float32, device=device)[None, None]
    curve = interpolate(knots, window.height, mode="linear", align_corners=True)[0, 0] - look.attenuation_db_per_mm * v
    edge = look.edge_db * (u / u.abs().max()) ** 4
    depth, line_db, thickness = look.line
    still = line_db * torch.exp((v - depth).square() * (-0.5 / thickness**2))
    return (curve + still)[:, None] - edge[None, :]


def _gain_db(look: Look, gain: NDArray[np.float64], lost: NDArray[np.float64], window: Window, device: torch.device) -> Tensor:
    """Gain of each frame, dB [frames, H or 1, W]: the whole image's, and what the edges lose without contact."""
    total = torch.as_tensor(gain, dtype=torch.float32, device=device)[:, None, None]
    if not any(look.lost_contact):
        return total
    u = _raster(window, 1, device)[0]
    half = window.width * window.spacing_mm[0] / 2
    left, right = torch.as_tensor(lost, dtype=torch.float32, device=device).T[:, :, None, None]
    dark = torch.sigmoid((left - (u + half)) * 3) + torch.sigmoid((right - (half - u)) * 3)
    return total - 35 * dark


def _lost_contact(look: Look, frames: int, random: Random) -> NDArray[np.float64]:
    """Dark width in mm at the left and right edge [frames, 2], changing slowly."""
    time = np.arange(frames)[:, None]
    phase, period = random.uniform(0, 6.28, 2), random.uniform(20, 120, 2)
    return np.asarray(np.array(look.lost_contact) * (0.5 + 0.5 * np.sin(phase + time * 6.28 / period)) * 1.3 - 0.3)


def _sector(look: Look, window: Window, device: torch.device) -> Tensor:
    """1 where a convex probe sees, [H, W]; a linear one sees all."""
    if not look.sector_mm:
        return torch.ones(1, 1, device=device)
    u, v = _raster(window, 1, device)
    v = v + window.center_below_edge_mm
    radius = torch.hypot(u[None, :], v[:, None] + look.sector_mm * 0.85)
    angle = torch.atan2(u[None, :].abs(), v[:, None] + look.sector_mm * 0.85)
    widest = float(np.arctan2(18.0, look.sector_mm * 0.85))
    return torch.sigmoid((radius - look.sector_mm) * 8) * (angle < widest)


def draw_hand(random: Random) -> Hand:
    """A hand; one in four tilts by 0.3 degrees a frame."""
    return Hand.drawn(random, tilting=bool(random.random() < 0.25))


def draw_sweep(frames: int, seed: tuple[int, ...], bank: SpeckleBank, window: Window | None = None) -> TrainingSweep:
    """One sweep of ``frames`` frames; the same seed and bank give the same sweep.

    The scanner's memory is left to training (``augment.remembered``): without it frames can be left out or put in the other order.
    """
    window = window or Window()
    random = np.random.default_rng(seed)
    motion = freehand_motion(frames + WARM_UP, draw_hand(random), random)
    look = replace(Look.drawn(random), persistence=0.0, averaged=0)
    sweep = sweep_along(motion, bank, look, random, window, "sim_" + "_".join(map(str, seed)), float(random.uniform(20, 60)))
    return replace(sweep, persists=False)


def sweep_along(
    motion: NDArray[np.float64],
    bank: SpeckleBank,
    look: Look,
    random: Random,
    window: Window,
    name: str,
    frames_per_s: float,
    over: int = 2,
) -> TrainingSweep:
    """Draw the tissue and the frames along ``motion`` [n, 6], whose first :data:`WARM_UP` steps are not shown."""
    if motion[WARM_UP:, 2].mean() < 0:
        motion = motion * CANONICAL_SIGN
    chain = placed(motion, random)
    length = float(np.ptp(chain[:, 2, 3])) + 10
    tissue = Tissue(random, 2 * window.center_below_edge_mm, length, window.width * window.spacing_mm[0], bank.device)
    windows = render(chain, tissue, bank, look, random, window, over)
    return TrainingSweep(windows, motion[WARM_UP:].astype(np.float32), window.spacing_mm, name, frames_per_s)


def draw_bank(seed: tuple[int, ...], window: Window | None = None, device: str = "cpu") -> SpeckleBank:
    """The speckle that :data:`SWEEPS_PER_BANK` sweeps share."""
    random = np.random.default_rng((*seed, 0xBA2C))
    return SpeckleBank(drawn_spread(random), 2 * (window or Window()).center_below_edge_mm, int(random.integers(2**62)), device)
