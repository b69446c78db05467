"""Classical motion from speckle, without a network: decorrelation gives the elevational step, block matching the motion in the plane.

Speckle behind a Gaussian point spread function of amplitude deviation s loses its correlation as exp(-d^2 / 2 s^2) with the
elevational distance d. A *curve* holds that law as measured on a probe, in bands of depth (s grows with depth), and how the raw
estimates become motions: real scanners average frames, so that blocks seem to move less than the probe does.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.compounding.image import Image
from edge.messages import Frame
from edge.motion.source import MotionUnavailable, Step
from edge.motion.speckle_blocks import Blocks, Floats, Matches, Raster
from edge.transform import first_image_to_reference, motion

NEAR, FAR = 1, 3  # frames apart: a scanner's averaging holds the near pair back, and has faded in the far one
REACH = {NEAR: (12, 5), FAR: (20, 8)}  # columns, rows of the raster to each side: 1.3 and 2.2 mm laterally
BANDS_MM = (0.0, 10.0, 20.0, 30.0, 45.0)  # edges, depth below the top edge
MOTIONS = ("tx", "ty", "tz", "rx", "ry", "rz")
FEATURES = ("tx", "ty", "rz", "tx far", "ty far", "rz far", "tz", "tz by depth", "tz by side")
LOWEST = 0.02  # of the way from the floor to the peak: below it speckle is gone and the distance is not known
# Peak and floor of each band as measured on simulated sweeps with steps of 0.1 to 2.5 mm: the best of 275 shifts never finds
# nothing. The width is the simulator's point spread: blocks of 0.5 mm steps are then taken for 0.50 mm on average.
SIMULATED = ((0.98, 0.62), (0.98, 0.55), (0.92, 0.39), (0.87, 0.34))
SIMULATED_WIDTH_MM = 1.1
PLAIN = {"tx": 0, "ty": 1, "tz": 6, "rz": 2}  # which feature each motion is where nothing was fitted


class BadCurve(MotionUnavailable):
    """A file is not a decorrelation curve."""


class Band(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Correlation of blocks in a band of depth against elevational distance d: floor + (peak - floor) exp(-d^2 / 2 width^2)."""

    peak: float
    floor: float
    width_mm: float


class Curve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``bands`` by ``BANDS_MM``; ``weights`` [6][1 + features]: canonical motion (mm, rad) from 1 and ``FEATURES``.

    ``spread``: standard deviations of what the fit left over, empty where nothing was fitted.
    """

    kind: Literal["decorrelation-curve"] = "decorrelation-curve"
    format: Literal[1] = 1
    bands: tuple[Band, ...]
    weights: tuple[tuple[float, ...], ...]
    spread: tuple[float, ...] = ()
    steps: int = 0
    sweeps: tuple[str, ...] = ()


def plain_curve() -> Curve:
    """The simulator's law, and raw estimates taken for what they are."""
    weights = np.zeros((6, 1 + len(FEATURES)))
    for name, feature in PLAIN.items():
        weights[MOTIONS.index(name), 1 + feature] = 1
    bands = tuple(Band(peak=peak, floor=floor, width_mm=SIMULATED_WIDTH_MM) for peak, floor in SIMULATED)
    return Curve(bands=bands, weights=tuple(map(tuple, weights.tolist())))


def read_curve(path: Path) -> Curve:
    """The curve in a JSON file; ``BadCurve`` names the file and what is wrong with it."""
    cure = "make one with `sonosweep calibrate decorrelation SWEEP... -o CURVE.json`"
    try:
        curve = msgspec.json.decode(path.read_bytes(), type=Curve)
    except OSError as wrong:
        raise BadCurve(f"{path}: {wrong.strerror}; {cure}") from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise BadCurve(f"{path}: is no decorrelation curve: {wrong}; {cure}") from wrong
    shape = [len(row) for row in curve.weights]
    if len(curve.bands) != len(BANDS_MM) - 1 or shape != [1 + len(FEATURES)] * 6 or len(curve.spread) not in (0, 6):
        raise BadCurve(f"{path}: has {len(curve.bands)} bands and weights {shape}, made by another version; {cure}")
    if any(not (band.peak > band.floor and band.width_mm > 0) for band in curve.bands):
        raise BadCurve(f"{path}: a curve falls from its peak to its floor, got {curve.bands}; {cure}")
    return curve


class Seen(msgspec.Struct, frozen=True):
    """What one frame shows against the ones before: correlation of its blocks, and the motion in the plane (near, far)."""

    peak: Floats  # [blocks], NaN where there is no speckle
    blocks: Blocks
    plane: Floats  # tx, ty (mm), rz (rad) since the frame before; then per frame since FAR frames before


class SpeckleView:
    """Looks at one image after the other. Keeps the last ``FAR`` of them."""

    def __init__(self) -> None:
        self._geometry: tuple[int, ...] | tuple[float, ...] = ()
        self._blocks: Blocks | None = None
        self._before: deque[Raster] = deque(maxlen=FAR)

    def start(self, image: Image, spacing_mm: tuple[float, float]) -> None:
        """Forget what was; the first image of a sweep."""
        if self._blocks is None or self._geometry != (*image.shape, *spacing_mm):
            self._geometry = (*image.shape, *spacing_mm)
            self._blocks = Blocks(image.shape[0], spacing_mm, REACH[FAR])
        self._before.clear()
        self._before.append(self._blocks.raster(image))

    def see(self, image: Image) -> Seen:
        """The next image against the ones before."""
        assert self._blocks is not None, "start() comes first"
        now = self._blocks.raster(image)
        near = self._blocks.match(now, self._before[-1], REACH[NEAR])
        apart = len(self._before)
        far = self._blocks.match(now, self._before[0], REACH[FAR]) if apart > 1 else near
        self._before.append(now)
        plane = [in_plane(near, self._blocks.centre_mm), in_plane(far, self._blocks.centre_mm) / apart]
        return Seen(near.peak, self._blocks, np.concatenate(plane))


class DecorrelationMotion:
    """Canonical relative motions; needs no training, and a curve where one was calibrated."""

    relative = True
    backend = ""

    def __init__(self, curve: Curve | None = None) -> None:
        self._curve = curve or plain_curve()
        self.name = "decorrelation"
        self._weights = np.array(self._curve.weights)
        self._view = SpeckleView()

    def start(self, frame: Frame, image: Image) -> Step:
        """The first image lies in the plane z = 0 of Reference."""
        self._view.start(image, frame.geometry.spacing_mm)
        return Step(image_to_reference=first_image_to_reference(frame.geometry.spacing_mm))

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """The motion since the image given before; over lost frames its uncertainty is as many times as wide."""
        found = features(self._view.see(image), self._curve.bands)
        values = self._weights[:, 0] + self._weights[:, 1:] @ found
        spread = tuple(one * elapsed_frames for one in self._curve.spread)
        return Step(center_to_previous=motion(values[:3], values[3:]), uncertainty=spread)


def features(seen: Seen, bands: tuple[Band, ...]) -> Floats:
    """``FEATURES`` of one frame (mm, rad): in the plane as seen, and the elevational step with its slopes over depth and side."""
    distance = np.full(len(seen.peak), np.nan)
    for index, band in enumerate(bands):
        chosen = in_band(seen, index)
        share = np.clip((seen.peak[chosen] - band.floor) / (band.peak - band.floor), LOWEST, 1)
        distance[chosen] = band.width_mm * np.sqrt(-2 * np.log(share))
    known = ~np.isnan(distance)
    if known.sum() < 4:
        return np.concatenate([seen.plane, np.zeros(3)])
    lateral, axial = seen.blocks.centre_mm[known].T
    design = np.stack([np.ones(known.sum()), axial, -lateral], 1)  # about the lateral and the axial axis, to first order
    fitted = np.linalg.lstsq(design, distance[known], rcond=None)[0]
    return np.concatenate([seen.plane, fitted])


def in_band(seen: Seen, band: int) -> NDArray[np.bool_]:
    """[blocks]: which of them lie in a band of depth and hold speckle."""
    depth = seen.blocks.depth_mm
    return np.asarray((depth >= BANDS_MM[band]) & (depth < BANDS_MM[band + 1]) & ~np.isnan(seen.peak))


def in_plane(matches: Matches, centre_mm: Floats) -> Floats:
    """tx, ty (mm) and rz (rad) that move the blocks as they were seen to move; blocks that disagree count less."""
    known = matches.peak > 0
    if known.sum() < 3:
        return np.zeros(3)
    x, y = centre_mm[known].T
    one, none = np.ones_like(x), np.zeros_like(x)
    design = np.concatenate([np.stack([one, none, -y], 1), np.stack([none, one, x], 1)])
    shift = matches.shift_mm[known].T.ravel()
    weight = np.tile(matches.peak[known] ** 2, 2)
    solution = np.zeros(3)
    for _ in range(4):
        root = np.sqrt(weight)
        solution = np.linalg.lstsq(design * root[:, None], shift * root, rcond=None)[0]
        left_mm = np.abs(shift - design @ solution)
        weight = np.tile(matches.peak[known] ** 2, 2) / (1 + (left_mm / 0.15) ** 2)
    return np.asarray(solution)
