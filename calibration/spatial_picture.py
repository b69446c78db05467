"""What a spatial calibration looks like: an image with its wires as found and as predicted, and the errors of all images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from calibration.phantom import Phantom
from calibration.spatial import Observations, SpatialFit, in_probe_mm
from calibration.spatial_errors import in_plane_mm
from edge.atomic import replacing

Floats = NDArray[np.float64]
INK, PAPER, FRAME = (225, 228, 232), (16, 20, 24), (90, 98, 108)
FOUND, PREDICTED, LEFT_OUT, SECOND = (255, 196, 61), (70, 190, 255), (255, 92, 92), (120, 220, 140)
PLOT = 360  # pixels a side
REACH_MM = 1.5


def draw_spatial(
    path: Path,
    pixels: NDArray[np.generic],
    number: int,
    seen: Observations,
    phantom: Phantom,
    fit: SpatialFit,
    validation: Observations | None,
) -> None:
    """``pixels``: image ``number`` of the sequence, one of ``seen``. Predicted wires are rings, the found ones crosses."""
    grey = np.clip(pixels.astype(np.float64) / max(float(pixels.max()), 1) * 255, 0, 255).astype(np.uint8)
    shown = Picture.fromarray(grey).convert("RGB")
    pen = ImageDraw.Draw(shown)
    at = seen.at[list(seen.images).index(number)]
    off = in_plane_mm(seen, phantom, fit.image_to_probe.matrix)[list(seen.images).index(number)]
    for found, cut in zip(at, at - off / fit.spacing_mm, strict=True):
        pen.ellipse((*(cut - 9), *(cut + 9)), outline=PREDICTED, width=2)
        pen.line((found[0] - 7, found[1], found[0] + 7, found[1]), FOUND, 1)
        pen.line((found[0], found[1] - 7, found[0], found[1] + 7), FOUND, 1)
    plots = [_plane_plot(seen, phantom, fit, validation), _space_plot(seen, fit, validation)]
    height = max(shown.height, 2 * (PLOT + 34)) + 40
    sheet = Picture.new("RGB", (shown.width + PLOT + 60, height), PAPER)
    sheet.paste(shown, (16, 30))
    text = ImageDraw.Draw(sheet)
    text.text((16, 8), f"image {number}: wires found (crosses) and where the calibration expects them (rings)", INK)
    for index, (title, plot) in enumerate(plots):
        top = 30 + index * (PLOT + 34)
        text.text((shown.width + 36, top - 22), title, INK)
        sheet.paste(plot, (shown.width + 36, top))
    with replacing(path) as out:
        sheet.save(out, "PNG")


def _plane_plot(seen: Observations, phantom: Phantom, fit: SpatialFit, validation: Observations | None) -> tuple[str, Picture.Image]:
    """Lateral against axial error of every wire."""
    plot, pen = _axes("lateral", "axial")
    for one, colour in ((seen, FOUND), (validation, SECOND)):
        if one is not None:
            _points(pen, in_plane_mm(one, phantom, fit.image_to_probe.matrix).reshape(-1, 2), colour)
    return f"in the image plane, all wires, to {REACH_MM:g} mm (yellow: calibration, green: validation)", plot


def _space_plot(seen: Observations, fit: SpatialFit, validation: Observations | None) -> tuple[str, Picture.Image]:
    """Lateral against elevational error of the middle dots; outliers red."""
    plot, pen = _axes("lateral", "elevational")
    matrix = fit.image_to_probe.matrix
    axes = matrix[:3, [0, 2]] / np.linalg.norm(matrix[:3, [0, 2]], axis=0)
    for one, colour in ((seen, FOUND), (validation, SECOND)):
        if one is not None:
            off = (in_probe_mm(one.middle_at, matrix) - one.middle_in_probe_mm) @ axes
            _points(pen, off.reshape(-1, 2), colour)
    off = (in_probe_mm(seen.middle_at, matrix) - seen.middle_in_probe_mm) @ axes
    _points(pen, off[~fit.inliers], LEFT_OUT)
    return "out of the plane, middle wires (red: left out)", plot


def _axes(right: str, up: str) -> tuple[Picture.Image, ImageDraw.ImageDraw]:
    plot = Picture.new("RGB", (PLOT, PLOT), PAPER)
    pen = ImageDraw.Draw(plot)
    pen.rectangle((0, 0, PLOT - 1, PLOT - 1), outline=FRAME)
    for mm in (0.5, 1.0):
        reach = mm / REACH_MM * PLOT / 2
        pen.ellipse((PLOT / 2 - reach, PLOT / 2 - reach, PLOT / 2 + reach, PLOT / 2 + reach), outline=FRAME)
        pen.text((PLOT / 2 + reach + 2, PLOT / 2 + 2), f"{mm:g} mm", FRAME)
    pen.line((0, PLOT / 2, PLOT, PLOT / 2), FRAME)
    pen.line((PLOT / 2, 0, PLOT / 2, PLOT), FRAME)
    pen.text((PLOT - 50, PLOT / 2 - 14), right, INK)
    pen.text((PLOT / 2 + 4, 4), up, INK)
    return plot, pen


def _points(pen: ImageDraw.ImageDraw, off_mm: Floats, colour: tuple[int, int, int]) -> None:
    for x, y in np.clip(PLOT / 2 + off_mm / REACH_MM * PLOT / 2, 2, PLOT - 3):
        pen.rectangle((x - 1, y - 1, x, y), fill=colour)
