"""Vessels in one picture: maximum intensity, depth in colours, light over ultrasound, and oxygen saturation; each with its legend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edge.files.volumes import Volume
from edge.light import photoacoustic
from edge.oxygenation import shared_box
from edge.picture import BACKGROUND, INK, MARGIN, PANEL, Grey, coloured, corner, extent_mm, on_grid_of, panel

BAR = (150, 12)  # pixels of a legend
FAINT = 30  # grey values: below them light has no depth to speak of
LOWEST_PERCENT = 40  # of saturation, the blue end of its colours
TOP, SIDE = (1, (2, 0)), (0, (2, 1))  # the axis that is looked along (x, y, z), and the ones across and down
AXES = ("x lateral", "y axial (depth)", "z elevational")
Colours = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def draw_vessels(
    path: Path, volumes: Mapping[str, Volume], title: str, ultrasound: Volume | None = None, saturation: Volume | None = None
) -> None:
    """Write a PNG. ``volumes`` by channel; the photoacoustic ones are shown as their mean where they overlap."""
    light = mean_light([volumes[name] for name in photoacoustic(volumes)])
    canvas = Image.new("RGB", (3 * PANEL + 4 * MARGIN, 2 * PANEL + 3 * MARGIN + 30), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, 14), title, INK, ImageFont.load_default(20))
    for number, (axis, shown) in enumerate((TOP, SIDE)):
        _put(canvas, pen, 3 * number, f"maximum along {AXES[axis][0]}", coloured(_along(light.intensity, axis), None, None), light, shown)
        bright = np.flatnonzero((light.intensity > FAINT).any(axis=tuple(a for a in range(3) if a != 2 - axis)))
        low, high = (int(bright[0]), int(bright[-1])) if len(bright) else (0, 1)
        label = "depth in colours" if axis == 1 else "lateral place in colours"
        _put(canvas, pen, 3 * number + 1, label, _by_place(light, axis, low, high), light, shown)
        ends = [f"{light.origin_mm[axis] + light.spacing_mm * at:.0f} mm" for at in (low, high)]
        _legend(canvas, pen, 3 * number + 1, _rainbow, (ends[0], ends[1]), light, shown)
    if ultrasound is not None:
        label, image = _over(ultrasound, light)
        _put(canvas, pen, 5, label, image, ultrasound, SIDE[1])
    if saturation is not None:
        _put(canvas, pen, 2, "oxygen saturation", _oxygen(light, saturation), light, TOP[1])
        _legend(canvas, pen, 2, _blue_to_red, (f"{LOWEST_PERCENT} %", "100 %"), light, TOP[1])
    heights = [_shown_height(volume, SIDE[1]) for volume in (light, ultrasound) if volume is not None]
    canvas.crop((0, 0, canvas.width, corner(3)[1] + max(heights) + MARGIN)).save(path, optimize=True)


def mean_light(volumes: list[Volume]) -> Volume:
    """The mean grey value of all wavelengths where they overlap, and the worst of their voxel states (0: not measured by all)."""
    grey, states, origin_mm = shared_box(volumes)
    held = (states > 0).all(0)
    mean = np.where(held, np.rint(grey.mean(0, dtype=np.float32)), 0).astype(np.uint8)
    return replace(volumes[0], intensity=mean, origin_mm=origin_mm, state=np.where(held, states.max(0), 0).astype(np.uint8))


def _along(data: Grey, axis: int) -> Grey:
    return np.asarray(data.max(axis=2 - axis).T)  # z across in both views


def _by_place(light: Volume, axis: int, low: int, high: int) -> Image.Image:
    """Brightness is the maximum along ``axis``; colour is where between ``low`` and ``high`` on the axis it lies."""
    place = (light.intensity.argmax(axis=2 - axis).T - low) / max(high - low, 1)
    brightness = _along(light.intensity, axis).astype(np.float64)
    colour = _rainbow(np.clip(place, 0, 1))
    colour[brightness < FAINT] = 0.6
    return _image(colour * np.clip(1.3 * brightness / max(brightness.max(), 1), 0, 1)[..., None])


def _over(ultrasound: Volume, light: Volume) -> tuple[str, Image.Image]:
    """The ultrasound slice with the brightest vessels, and over it all light that lies within 3 mm of it."""
    on_grid = on_grid_of(ultrasound, light)
    reach = max(1, round(3 / ultrasound.spacing_mm))
    per_slice = on_grid.clip(2 * FAINT).sum(axis=(0, 1), dtype=np.int64)
    at = int(np.argmax(np.convolve(per_slice, np.ones(2 * reach + 1), "same")))
    near = on_grid[:, :, max(at - reach, 0) : at + reach + 1].max(axis=2).T
    stretched = np.clip(near.astype(np.float32) * (255 / max(int(near.max()), 1)), 0, 255).astype(np.uint8)
    x_mm = ultrasound.origin_mm[0] + at * ultrasound.spacing_mm
    image = coloured(ultrasound.intensity[:, :, at].T, ultrasound.state[:, :, at].T if ultrasound.state.size else None, stretched)
    return f"ultrasound, x = {x_mm:.1f} mm", image


def _oxygen(light: Volume, saturation: Volume) -> Image.Image:
    """From above: the saturation of the brightest voxel of each column that has one; grey where none has."""
    known = on_grid_of(light, replace(saturation, intensity=saturation.state)) > 0
    percent = on_grid_of(light, saturation)
    brightest = np.where(known, light.intensity.astype(np.int16) + 1, 0)
    at = brightest.argmax(axis=1)[:, None]
    shown = np.take_along_axis(percent, at, 1)[:, 0].astype(np.float64).T
    colour = _blue_to_red(np.clip((shown - LOWEST_PERCENT) / (100 - LOWEST_PERCENT), 0, 1))
    colour[~known.any(axis=1).T] = 0.12
    return _image(colour)


def _rainbow(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 red, near; 1 blue, far: through yellow, green and cyan."""
    hue = np.asarray(place)[..., None] * 4.0  # red 0, yellow 1, green 2, cyan 3, blue 4
    return np.concatenate([np.clip(2 - hue, 0, 1), np.clip(np.minimum(hue, 4 - hue), 0, 1), np.clip(hue - 2, 0, 1)], -1)


def _blue_to_red(share: NDArray[np.float64]) -> NDArray[np.float64]:
    share = np.asarray(share)[..., None]
    return np.concatenate([np.clip(1.6 * share, 0, 1), 0.35 - 0.7 * np.abs(share - 0.5), np.clip(1.6 - 1.6 * share, 0, 1)], -1)


def _image(colour: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.clip(255 * colour, 0, 255).astype(np.uint8))


def _put(
    canvas: Image.Image, pen: ImageDraw.ImageDraw, number: int, label: str, image: Image.Image, volume: Volume, shown: tuple[int, int]
) -> None:
    across, down = shown
    panel(canvas, pen, number, label, image, (AXES[across], AXES[down]), extent_mm(volume, across, down))


def _shown_height(volume: Volume, shown: tuple[int, int]) -> int:
    """Of a volume's view in its panel, pixels."""
    across, down = extent_mm(volume, *shown)
    return round(down * PANEL / max(across, down))


def _legend(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    number: int,
    colours: Colours,
    ends: tuple[str, str],
    volume: Volume,
    shown: tuple[int, int],
) -> None:
    """A bar under the picture of ``volume``, from the first end to the second."""
    left, top = corner(number)
    y, small = top + _shown_height(volume, shown) + 5, ImageFont.load_default(13)
    x = left + round(pen.textlength(ends[0], small)) + 8
    pen.text((left, y - 2), ends[0], INK, small)
    canvas.paste(_image(colours(np.ones((BAR[1], 1)) * np.linspace(0, 1, BAR[0]))), (x, y))
    pen.text((x + BAR[0] + 8, y - 2), ends[1], INK, small)
