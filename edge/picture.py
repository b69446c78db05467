"""One picture of a volume: three orthogonal slices, two maximum-intensity projections and the probe's path, with scales."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edge.files.volumes import Volume
from edge.files.voxel_grid import first_voxel, on_box
from edge.light import photoacoustic
from edge.transform import Transform

PANEL = 420  # pixels, square
MARGIN = 44
BACKGROUND, INK, ACCENT, WARM = (13, 16, 20), (214, 221, 228), (86, 180, 233), (230, 159, 0)
INVENTED_TINT = np.array([0.75, 0.9, 1.15])  # interpolated and filled voxels are bluish: they were not measured
WARM_FROM = 0.3  # of full scale: below it a photoacoustic voxel is background and stays transparent
Grey = NDArray[np.uint8]


def draw(
    path: Path,
    volumes: dict[str, Volume],
    poses: Sequence[Transform],
    image_size: tuple[int, int],
    title: str,
) -> None:
    """Write a PNG. ``volumes`` by channel, the first is shown in grey, the first photoacoustic one over it in warm colours.

    ``poses`` are ImageToReference of the placed frames, ``image_size`` (columns, rows) of one frame.
    """
    volume = next(iter(volumes.values()))
    other = next((volumes[name] for name in photoacoustic(volumes)), None) if len(volumes) > 1 else None
    middle = _busiest(volume)
    canvas = Image.new("RGB", (3 * PANEL + 4 * MARGIN, 2 * PANEL + 3 * MARGIN + 30), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, 14), title, INK, ImageFont.load_default(20))
    names = ("x lateral", "y axial (depth)", "z elevational")
    panels: list[tuple[str, Image.Image, tuple[str, str], tuple[float, float]]] = []
    for axis, (across, down) in ((2, (0, 1)), (0, (2, 1)), (1, (0, 2))):
        label = f"slice {names[axis].split()[0]} = {volume.origin_mm[axis] + middle[axis] * volume.spacing_mm:.1f} mm"
        panels.append((label, _slice(volume, other, axis, middle[axis]), (names[across], names[down]), extent_mm(volume, across, down)))
    for axis, (across, down) in ((0, (2, 1)), (1, (0, 2))):
        label = f"maximum along {names[axis].split()[0]}"
        panels.append((label, _maximum(volume, other, axis), (names[across], names[down]), extent_mm(volume, across, down)))
    for number, (label, image, axes, extent) in enumerate(panels):
        panel(canvas, pen, number, label, image, axes, extent)
    _path(pen, 5, poses, image_size)
    canvas.save(path, optimize=True)


def _busiest(volume: Volume) -> tuple[int, int, int]:
    """(i, j, k) of the slices that hold most measured tissue near the middle."""
    filled = volume.intensity > 0
    found = []
    for axis in (2, 1, 0):
        counts = filled.sum(axis=tuple(a for a in range(3) if a != axis)).astype(float)
        size = len(counts)
        closeness = 1 - np.abs(np.arange(size) - (size - 1) / 2) / size
        found.append(int(np.argmax(counts * closeness)))
    return found[0], found[1], found[2]


def extent_mm(volume: Volume, across: int, down: int) -> tuple[float, float]:
    size = volume.intensity.shape[::-1]
    return size[across] * volume.spacing_mm, size[down] * volume.spacing_mm


def _slice(volume: Volume, other: Volume | None, axis: int, at: int) -> Image.Image:
    def cut(data: Grey) -> Grey:
        plane: Grey = np.take(data, at, axis=2 - axis)
        return plane.T if axis == 0 else plane

    return coloured(cut(volume.intensity), cut(volume.state), None if other is None else cut(on_grid_of(volume, other)))


def _maximum(volume: Volume, other: Volume | None, axis: int) -> Image.Image:
    def project(data: Grey) -> Grey:
        plane: Grey = data.max(axis=2 - axis)
        return plane.T if axis == 0 else plane

    return coloured(project(volume.intensity), None, None if other is None else project(on_grid_of(volume, other)))


def on_grid_of(volume: Volume, other: Volume) -> Grey:
    """``other`` on the grid of ``volume``, of the same spacing."""
    return on_box(other.intensity, first_voxel(other), first_voxel(volume), np.array(volume.intensity.shape[::-1]))


def coloured(grey: Grey, state: Grey | None, warm: Grey | None) -> Image.Image:
    colour = np.repeat(grey[..., None].astype(np.float32), 3, axis=2)
    if state is not None:
        colour[state >= 2] *= INVENTED_TINT
    if warm is not None:
        share = (warm.astype(np.float32) / 255)[..., None]
        hot = np.concatenate([np.clip(share * 2.2, 0, 1), np.clip(share * 1.6 - 0.4, 0, 1), np.clip(share * 2 - 1.4, 0, 1)], axis=2) * 255
        cover = np.clip((share - WARM_FROM) * 2.5, 0, 0.9)
        colour = (colour * (1 - cover) + hot * cover).astype(np.float32)
    return Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))


def corner(number: int) -> tuple[int, int]:
    return MARGIN + (number % 3) * (PANEL + MARGIN), 30 + MARGIN + (number // 3) * (PANEL + MARGIN)


def panel(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    number: int,
    label: str,
    image: Image.Image,
    axes: tuple[str, str],
    extent_mm: tuple[float, float],
) -> None:
    left, top = corner(number)
    scale = PANEL / max(extent_mm)
    size = max(1, round(extent_mm[0] * scale)), max(1, round(extent_mm[1] * scale))
    canvas.paste(image.resize(size, Image.Resampling.BILINEAR), (left, top))
    small = ImageFont.load_default(13)
    pen.text((left, top - 19), f"{label}     across: {axes[0]}, down: {axes[1]}", INK, small)
    bar_mm = next(mm for mm in (100, 50, 20, 10, 5, 2, 1) if mm <= max(1, 0.4 * max(extent_mm)))
    y = top + size[1] - 10
    pen.line([(left + 10, y), (left + 10 + bar_mm * scale, y)], WARM, 3)
    pen.text((left + 14, y - 19), f"{bar_mm} mm", WARM, small)


def _path(pen: ImageDraw.ImageDraw, number: int, poses: Sequence[Transform], image_size: tuple[int, int]) -> None:
    """The frames' outlines and the path of the image's first row's middle, seen obliquely."""
    left, top = corner(number)
    pen.text((left, top - 19), f"probe path: {len(poses)} frames placed (first blue, last orange)", INK, ImageFont.load_default(13))
    if not poses:
        return
    width, height = image_size
    corners = np.array([[0, 0, 0], [width - 1, 0, 0], [width - 1, height - 1, 0], [0, height - 1, 0], [0, 0, 0], [(width - 1) / 2, 0, 0]])
    points = np.stack([pose.apply(corners) for pose in poses])
    view = np.array([[0.87, 0.0, -0.5], [0.2, 0.92, 0.34]])  # oblique, y down
    flat = points @ view.T
    low, span = flat.min(axis=(0, 1)), np.ptp(flat, axis=(0, 1)).max()
    flat = (flat - low) / max(span, 1e-9) * (PANEL - 8) + (left + 4, top + 4)
    step = max(1, len(poses) // 24)
    for outline in flat[::step, :5]:
        pen.line([tuple(p) for p in outline], (62, 74, 86), 1)
    for index, colour in ((0, ACCENT), (-1, WARM)):
        pen.line([tuple(p) for p in flat[index, :5]], colour, 2)
    if len(poses) > 1:
        pen.line([tuple(p) for p in flat[:, 5]], INK, 2)
