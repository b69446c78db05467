"""Loss curves as a picture, drawn with what is installed anyway."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from edge.atomic import replacing

SIZE, MARGIN, SMOOTHING = (900, 460), (64, 24, 24, 48), 0.97  # left, top, right, bottom
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (140, 86, 75))
Curve = Sequence[tuple[float, float]]


def draw_curves(path: Path, curves: Mapping[str, Curve], title: str) -> None:
    """Write ``path`` (.png): curves of (minutes, loss) by name, faint as measured and strong when smoothed."""
    finite = {name: [(x, y) for x, y in curve if math.isfinite(x) and math.isfinite(y)] for name, curve in curves.items()}
    finite = {name: curve for name, curve in finite.items() if curve}
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = MARGIN[0], MARGIN[1], SIZE[0] - MARGIN[2], SIZE[1] - MARGIN[3]
    strong = {name: _smoothed(curve) for name, curve in finite.items()}
    last = max((x for curve in finite.values() for x, _ in curve), default=1.0) or 1.0
    values = sorted(y for curve in finite.values() for _, y in curve) or [0.0, 1.0]
    low, high = values[len(values) // 100], values[-1 - len(values) // 100]  # a first wild step does not flatten the rest
    low, high = min(low, 0.0), high if high > low else low + 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        share = (min(max(y, low), high) - low) / (high - low)
        return left + (right - left) * x / last, bottom - (bottom - top) * share

    for tick in range(6):
        y = low + (high - low) * tick / 5
        draw.line([place(0, y), place(last, y)], fill=(225, 225, 225))
        draw.text((6, place(0, y)[1] - 6), f"{y:.3f}", fill="black")
        draw.text((place(last * tick / 5, low)[0] - 10, bottom + 6), f"{last * tick / 5:.1f}", fill="black")
    draw.text(((left + right) / 2 - 20, bottom + 24), "minutes", fill="black")
    draw.text((left, 6), title, fill="black")
    for number, (name, curve) in enumerate(finite.items()):
        colour = COLOURS[number % len(COLOURS)]
        pale = tuple((c + 3 * 255) // 4 for c in colour)
        if len(curve) > 1:
            draw.line([place(x, y) for x, y in curve], fill=pale)
            draw.line([place(x, y) for x, y in strong[name]], fill=colour, width=2)
        draw.text((right - 140, top + 8 + 14 * number), f"{name} {strong[name][-1][1]:.4f}", fill=colour)
    with replacing(path) as out:
        image.save(out, format="PNG")


def _smoothed(curve: Curve) -> list[tuple[float, float]]:
    """Running mean that forgets, without a bias to its first value."""
    answer, total, weight = [], 0.0, 0.0
    for x, y in curve:
        total, weight = SMOOTHING * total + y, SMOOTHING * weight + 1
        answer.append((x, total / weight))
    return answer
