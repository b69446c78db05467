"""Fitting a decorrelation curve to tracked sweeps: the law of each depth, then raw estimates to motions by ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.compounding.image import Image
from edge.messages import Frame
from edge.motion.card import six
from edge.motion.decorrelation import BANDS_MM, Band, Curve, Seen, SpeckleView, features, in_band, plain_curve
from edge.motion.source import Step
from edge.motion.speckle_blocks import Floats
from edge.transform import first_image_to_reference, motion

WIDTHS_MM = np.geomspace(0.4, 4.0, 47)
RIDGE = 30.0  # as many steps as say that a feature means nothing
FEWEST_STEPS = 20


@dataclass
class SpeckleListener:
    """Sits where a source of motion sits, and keeps what the frames of one sweep show instead of answering."""

    name: str = "listener"
    relative: bool = True
    backend: str = ""
    seen: list[Seen] = field(default_factory=list)
    _view: SpeckleView = field(default_factory=SpeckleView)

    def start(self, frame: Frame, image: Image) -> Step:
        """A sweep begins."""
        self.seen.clear()
        self._view.start(image, frame.geometry.spacing_mm)
        return Step(image_to_reference=first_image_to_reference(frame.geometry.spacing_mm))

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """Look, and say nothing."""
        self.seen.append(self._view.see(image))
        return Step(center_to_previous=motion((0, 0, 0), (0, 0, 0)))


def fit_curve(seen: Sequence[Seen], steps: Floats, sweeps: Sequence[str]) -> Curve:
    """The curve of a probe from what its frames showed and how they really moved: canonical ``steps`` [n, 6] (mm, rad)."""
    distance = np.abs(steps[:, 2])
    bands = tuple(_fit_band(seen, distance, index) for index in range(len(BANDS_MM) - 1))
    raw = np.array([features(one, bands) for one in seen])
    middle, scale = raw.mean(0), raw.std(0) + 1e-9
    design = (raw - middle) / scale
    inverse = np.linalg.solve(design.T @ design + RIDGE * np.eye(design.shape[1]), design.T)
    slopes = (inverse @ (steps - steps.mean(0))).T / scale
    weights = np.concatenate([(steps.mean(0) - slopes @ middle)[:, None], slopes], 1)
    left = steps - weights[:, 0] - raw @ slopes.T
    return Curve(
        bands=bands,
        weights=tuple(map(tuple, weights.tolist())),
        spread=six(left.std(0)),
        steps=len(steps),
        sweeps=tuple(sweeps),
    )


def _fit_band(seen: Sequence[Seen], distance: Floats, index: int) -> Band:
    """Least squares for peak and floor at each width; the best width. The plain law where the band holds too little speckle."""
    plain = plain_curve().bands[index]
    chosen = [one.peak[in_band(one, index)] for one in seen]
    mean = np.array([peaks.mean() if len(peaks) else np.nan for peaks in chosen])
    known = ~np.isnan(mean)
    if known.sum() < FEWEST_STEPS:
        return plain
    best, answer = np.inf, plain
    for width in WIDTHS_MM:
        law = np.exp(-(distance[known] ** 2) / (2 * width**2))
        design = np.stack([law, 1 - law], 1)
        (peak, floor), *_ = np.linalg.lstsq(design, mean[known], rcond=None)
        error = float(((design @ (peak, floor) - mean[known]) ** 2).sum())
        if error < best and peak > floor + 0.05 and floor > -0.2 and peak < 1.1:
            best, answer = error, Band(peak=float(peak), floor=float(floor), width_mm=float(width))
    return answer
