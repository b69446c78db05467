"""One picture per sweep: the true and the estimated path, and every parameter of the motion from frame to frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edge.evaluation.measures import DEGREES_OF_FREEDOM, UNITS
from edge.evaluation.watch import Estimate, Watched
from edge.motion.accuracy import steps_of

SIZE, MARGIN, TOP = (1500, 1000), 50, 70
BACKGROUND, GRID, INK, TRUE, FOUND, BAND = (13, 16, 20), (44, 52, 60), (214, 221, 228), (200, 205, 210), (230, 159, 0), (70, 56, 22)
OTHERS = {"constant": (120, 94, 240), "decorrelation": (86, 180, 233)}
AXES = ("x lateral", "y axial", "z elevational")
WORST = 99.0  # percent of the values that a curve's axis shows: one slip of the tracker must not flatten all others
Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def draw_sweep(path: Path, watched: Watched, name: str, turned: Estimate, others: dict[str, Estimate], title: str) -> None:
    """Write a PNG. ``turned`` and ``others`` (baselines) are in the sweep's own direction."""
    canvas = Image.new("RGB", SIZE, BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, 12), title, INK, ImageFont.load_default(20))
    _legend(pen, {"true": TRUE, name: FOUND, **{other: OTHERS[other] for other in others}})
    paths = [(one.chain[:, :3, 3], OTHERS[other]) for other, one in others.items()]
    paths += [(watched.true[:, :3, 3], TRUE), (turned.chain[:, :3, 3], FOUND)]
    height = (SIZE[1] - TOP) / 2
    for number, (across, down) in enumerate(((2, 0), (2, 1))):
        top = TOP + number * height
        _paths(pen, (MARGIN, top + 25, SIZE[0] * 0.42, top + height - 35), paths, across, down)
    steps, found, deviations = steps_of(watched.true) * UNITS, turned.steps * UNITS, turned.deviations * UNITS
    row = (SIZE[1] - TOP) / 6
    for number, parameter in enumerate(DEGREES_OF_FREEDOM):
        box = (SIZE[0] * 0.47, TOP + number * row + 22, SIZE[0] - 20.0, TOP + (number + 1) * row - 8)
        unit = "mm" if number < 3 else "degrees"
        _curves(pen, box, f"{parameter}, {unit} per frame", steps[:, number], found[:, number], deviations[:, number])
    canvas.save(path, optimize=True)


def _legend(pen: ImageDraw.ImageDraw, colours: dict[str, tuple[int, int, int]]) -> None:
    left, small = float(MARGIN), ImageFont.load_default(14)
    for name, colour in colours.items():
        pen.line([(left, 52), (left + 26, 52)], colour, 3)
        pen.text((left + 32, 43), name, INK, small)
        left += 60 + pen.textlength(name, small)


def _paths(pen: ImageDraw.ImageDraw, box: Box, paths: list[tuple[Floats, tuple[int, int, int]]], across: int, down: int) -> None:
    """The centre's paths in one plane of the first image, equal millimetres both ways."""
    left, top, right, bottom = box
    every = np.concatenate([places[:, [across, down]] for places, _ in paths])
    low, high = every.min(0), every.max(0)
    scale = min((right - left) / max(high[0] - low[0], 1.0), (bottom - top) / max(high[1] - low[1], 1.0))
    small = ImageFont.load_default(13)
    pen.text((left, top - 21), f"path of the image's centre     across: {AXES[across]}, down: {AXES[down]}", INK, small)
    pen.rectangle(box, outline=GRID)
    middle = (np.array([left + right, top + bottom]) - (low + high) * scale) / 2
    for places, colour in paths:
        pen.line([tuple(point) for point in places[:, [across, down]] * scale + middle], colour, 2, "curve")
        x, y = places[-1, [across, down]] * scale + middle
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), outline=colour, width=2)
    bar_mm = next((mm for mm in (100, 50, 20, 10, 5, 2) if mm * scale <= (right - left) / 2), 1)
    pen.line([(left + 10, bottom - 10), (left + 10 + bar_mm * scale, bottom - 10)], INK, 3)
    pen.text((left + 14, bottom - 30), f"{bar_mm} mm", INK, small)


def _curves(pen: ImageDraw.ImageDraw, box: Box, label: str, true: Floats, found: Floats, deviation: Floats) -> None:
    """One parameter against the frame; the estimate with its 68 % band where it has one."""
    left, top, right, bottom = box
    limit = max(float(np.percentile(np.abs(np.concatenate([true, found])), WORST)) * 1.15, 1e-3)
    x = np.linspace(left, right, len(true)) if len(true) > 1 else np.array([left])

    def line(values: Floats) -> list[tuple[float, float]]:
        share = np.clip(values / limit, -1, 1)
        return list(zip(x.tolist(), ((top + bottom) / 2 - share * (bottom - top) / 2).tolist(), strict=True))

    pen.rectangle(box, outline=GRID)
    if np.isfinite(deviation).all() and len(true) > 1:
        pen.polygon(line(found + deviation) + line(found - deviation)[::-1], fill=BAND)
    pen.line([(left, (top + bottom) / 2), (right, (top + bottom) / 2)], GRID)
    pen.line(line(true), TRUE, 1)
    pen.line(line(found), FOUND, 2)
    together = np.corrcoef(true, found)[0, 1] if min(true.std(), found.std()) > 1e-9 else None
    shown = "" if together is None else f"     r = {together:.2f}"
    pen.text((left, top - 17), f"{label}     full scale {limit:.2g}{shown}", INK, ImageFont.load_default(12))
