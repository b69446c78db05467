"""Makes the pictures of docs/slicer.md, docs/calibration.md and docs/tutorial.md again, from real files: python docs/pictures.py DATA.

DATA holds leg/ (UltraBones100k, CC BY 4.0) and plus/ (test data of PLUS). No 3D Slicer is run: its views are drawn by their definition.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import edge
from edge.app import main

DOCS = Path(__file__).resolve().parent
COLOURS = {1: (80, 170, 90), 2: (70, 140, 235), 3: (235, 170, 60)}  # measured, interpolated, filled
BARS = {"Red": (243, 74, 51), "Yellow": (237, 213, 76), "Green": (110, 176, 75)}
PAPER, INK = (24, 26, 30), (220, 224, 228)
SCALE, GAP = 3, 14


def views(volume: edge.Volume, at: tuple[int, int, int], labels: bool) -> Image.Image:
    """Red (axial), Yellow (sagittal) and Green (coronal) as Slicer turns them where Reference's x, y, z are left, posterior, superior."""
    k, j, i = at
    cuts = {
        "Red": ("axial: x to the right, y down", lambda v: v[k]),
        "Yellow": ("sagittal: y to the right, z up", lambda v: v[::-1, :, i]),
        "Green": ("coronal: x to the right, z up", lambda v: v[::-1, j]),
    }
    panels = []
    for name, (told, cut) in cuts.items():
        grey = np.repeat(cut(volume.intensity)[..., None], 3, 2).astype(float)
        if labels:
            state = cut(volume.state)
            for label, colour in COLOURS.items():
                grey[state == label] = 0.6 * grey[state == label] + 0.4 * np.array(colour)
        panel = Image.fromarray(grey.astype(np.uint8))
        panels.append((name, told, panel.resize((panel.width * SCALE, panel.height * SCALE), Image.Resampling.NEAREST)))
    wide = sum(panel.width for *_, panel in panels) + GAP * 4
    sheet = Image.new("RGB", (wide, max(panel.height for *_, panel in panels) + 60), PAPER)
    pen, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(14), GAP
    for name, told, panel in panels:
        pen.rectangle((left, 10, left + panel.width, 16), fill=BARS[name])
        pen.text((left, 20), f"{name} ({told})", INK, font)
        sheet.paste(panel, (left, 44))
        left += panel.width + GAP
    return sheet


def small(image: Image.Image, name: str) -> None:
    """Into docs/, without an alpha channel."""
    image.convert("RGB").save(DOCS / name, optimize=True)


def slicer(data: Path) -> None:
    """The real leg sweep by its tracker, and its states."""
    words = ["reconstruct", str(data / "leg" / "leg_0318_0509.igs.mha"), "-o", "leg.nrrd", "--motion", "recorded"]
    assert main([*words, "--spacing-mm", "0.4", "--fill-holes"]) == 0
    volume = edge.read_volume(Path("leg.nrrd"))
    at = tuple(size // 2 for size in volume.intensity.shape)
    small(views(volume, at, labels=False), "slicer-views.png")
    small(views(volume, at, labels=True), "slicer-states.png")


def calibration(data: Path) -> None:
    """PLUS's N-wire sequences."""
    plus = data / "plus"
    words = ["calibrate", "spatial", str(plus / "fCal_Test_Calibration_3NWires_fCal2.0.igs.mha"), "-o", "probe.json", "--picture", "p.png"]
    words += ["--validation", str(plus / "fCal_Test_Validation_3NWires_fCal2.0.igs.mha")]
    assert main([*words, "--phantom", str(plus / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml")]) == 0
    small(Image.open("p.png"), "calibration.png")


def tutorial() -> None:
    """What the tutorial's own code draws."""
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", (DOCS / "tutorial.md").read_text(), re.M | re.S):
        exec(block, names)
    small(Image.open("three-planes.png"), "tutorial.png")


if __name__ == "__main__":
    source = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        slicer(source)
        calibration(source)
        tutorial()
