"""The lag between images and a tracker: the same motion seen by both, compared at every lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError

Floats = NDArray[np.float64]
STEP_S = 0.002
LARGEST_LAG_S = 0.5
SHORTEST_S = 5.0
FEWEST_SAMPLES = 40
LEAST_CORRELATION = 0.8
LEAST_OF_SPECKLE = 0.6  # of a velocity read from speckle, which is noisy: real sweeps reach 0.7 to 0.9
OTHER_PEAK = 0.97  # of the peak's height: another one as high is another answer
OTHER_PEAK_S = 0.1
HALVES_AGREE_MS = 25.0
SMOOTH_S, DRIFT_S = 0.06, 0.8  # standard deviations: before differentiating, and of what is slower than the motion


class LagUnclear(SonosweepError):
    """Image and tracker do not show one motion whose lag could be read."""


@dataclass(frozen=True)
class Signal:
    """``values`` [n] (any unit) at ``times_s`` [n], rising. ``order``: 0 a position, 1 a velocity, 2 an acceleration."""

    name: str
    times_s: Floats
    values: Floats
    order: int = 0


@dataclass(frozen=True)
class Lag:
    """An image stamped t was taken where the tracker was at t + lag. ``correlations`` [lags] at ``lags_ms``, signed."""

    lag_ms: float
    correlation: float
    halves_ms: tuple[float, float]
    seconds: float
    lags_ms: Floats
    correlations: Floats


def measured_lag(image: Signal, tracker: Signal, largest_lag_s: float = LARGEST_LAG_S, least: float = LEAST_CORRELATION) -> Lag:
    """The lag at which ``tracker`` is most like ``image``, whatever its sign and scale; in between the steps by a parabola.

    ``LagUnclear`` where the sweep is too short, the motions differ, or several lags fit about as well.
    """
    image, tracker = _comparable(image, tracker)
    begin = max(image.times_s[0], tracker.times_s[0] + largest_lag_s)
    end = min(image.times_s[-1], tracker.times_s[-1] - largest_lag_s)
    if end - begin < SHORTEST_S or min(len(image.values), len(tracker.values)) < FEWEST_SAMPLES:
        raise LagUnclear(
            f"images and tracker overlap for {max(0.0, end - begin + 2 * largest_lag_s):.1f} s; record 15 s of moving up and down, "
            f"at least {SHORTEST_S + 2 * largest_lag_s:.0f} s"
        )
    grid = np.arange(begin, end, STEP_S, dtype=np.float64)
    lags: Floats = np.arange(-round(largest_lag_s / STEP_S), round(largest_lag_s / STEP_S) + 1, dtype=np.float64) * STEP_S
    correlations = _correlations(image, tracker, grid, lags)
    lag, height = _peak(lags, correlations)
    if abs(height) < least:
        raise LagUnclear(
            f"{image.name} and {tracker.name} are alike by {abs(height):.2f} at best (needs {least}); move the probe "
            "up and down over one bright line, along one direction"
        )
    if abs(lag) > largest_lag_s - 2 * STEP_S:
        raise LagUnclear(f"the best lag is the largest that was tried, {largest_lag_s * 1e3:.0f} ms; check the clocks, or try --max-lag-ms")
    others = np.abs(correlations[np.abs(lags - lag) > OTHER_PEAK_S])
    if others.size and others.max() > OTHER_PEAK * abs(height) and _rises_again(lags, correlations, lag, abs(height)):
        raise LagUnclear("several lags fit about as well: the motion repeats itself too fast; move more slowly and less evenly")
    middle = len(grid) // 2
    halves = [_peak(lags, _correlations(image, tracker, half, lags))[0] * 1e3 for half in (grid[:middle], grid[middle:])]
    if abs(halves[0] - halves[1]) > HALVES_AGREE_MS:
        raise LagUnclear(f"the lag is {halves[0]:.0f} ms in the first half and {halves[1]:.0f} ms in the second; the clocks run apart")
    return Lag(lag * 1e3, height, (halves[0], halves[1]), float(end - begin), lags * 1e3, correlations)


def principal(positions_mm: Floats) -> Floats:
    """Positions or accelerations [n, 3] along the direction in which they vary most, mean 0."""
    off = positions_mm - positions_mm.mean(0)
    return np.asarray(off @ np.linalg.svd(off, full_matrices=False)[2][0])


def _comparable(image: Signal, tracker: Signal) -> tuple[Signal, Signal]:
    """Both on an even grid; where the tracker tells acceleration, both smoothed alike, the image differentiated, drift taken out."""
    if tracker.order == image.order:
        return image, tracker
    found = []
    for signal in (image, tracker):
        times = np.arange(signal.times_s[0], signal.times_s[-1], STEP_S)
        values = _smoothed(np.interp(times, signal.times_s, signal.values), SMOOTH_S)
        for _ in range(tracker.order - signal.order):
            values = np.gradient(values, STEP_S)
        edge = round(3 * SMOOTH_S / STEP_S)
        found.append(Signal(signal.name, times[edge:-edge], (values - _smoothed(values, DRIFT_S))[edge:-edge], tracker.order))
    return found[0], found[1]


def _smoothed(values: Floats, deviation_s: float) -> Floats:
    reach = min(round(3 * deviation_s / STEP_S), (len(values) - 1) // 2)
    weight = np.exp(-((np.arange(-reach, reach + 1) * STEP_S / deviation_s) ** 2) / 2)
    return np.asarray(np.convolve(np.pad(values, reach, "reflect"), weight / weight.sum(), "valid"))


def _correlations(image: Signal, tracker: Signal, grid: Floats, lags: Floats) -> Floats:
    here = np.interp(grid, image.times_s, image.values)
    here = here - here.mean()
    found = []
    for lag in lags:
        there = np.interp(grid + lag, tracker.times_s, tracker.values)
        there = there - there.mean()
        size = np.sqrt((here @ here) * (there @ there))
        found.append(here @ there / size if size > 0 else 0.0)
    return np.array(found)


def _peak(lags: Floats, correlations: Floats) -> tuple[float, float]:
    """Lag and signed height of the largest correlation, to a fraction of a step."""
    best = int(np.abs(correlations).argmax())
    if best in (0, len(lags) - 1):
        return float(lags[best]), float(correlations[best])
    reach = min(5, best, len(lags) - 1 - best)  # of linear interpolation the very tip is a corner: a wider parabola is not
    near = slice(best - reach, best + reach + 1)
    a, b, c = np.polyfit(lags[near] - lags[best], correlations[near], 2)
    at = -b / (2 * a) if a else 0.0
    return float(lags[best] + at), float(c + b * at / 2)


def _rises_again(lags: Floats, correlations: Floats, lag: float, height: float) -> bool:
    """Between the peak and another lag of its height there is a valley: it is another peak and not its shoulder."""
    away = np.abs(lags - lag) > OTHER_PEAK_S
    rival = int(np.where(away & (np.abs(correlations) > OTHER_PEAK * height))[0][0])
    first, last = sorted((rival, int(np.abs(lags - lag).argmin())))
    return bool(np.abs(correlations[first : last + 1]).min() < 0.9 * height)
