"""The live image on the page is the image that is placed."""

import io

import numpy as np
from PIL import Image

from edge.messages import Frame, Geometry
from edge.placed_images import placed_images
from edge.tablet.jpeg import LiveImages, jpeg


def frame(pixels, geometry, **more):
    return Frame(boot_id=1, sweep=0, sequence=0, timestamp_ns=0, geometry=geometry, pixels=pixels, **more)


def test_sixteen_bits_are_shown_between_black_and_white():
    pixels = np.array([[100, 300], [200, 500], [0, 999]], np.uint16)
    grey = LiveImages().grey(frame(pixels, Geometry(width=2, height=3, spacing_mm=(1, 1)), sample_range=(100, 500)))
    assert grey.tolist() == [[0, 128], [64, 255], [0, 255]]


def test_a_convex_image_has_the_size_of_the_one_that_is_placed():
    geometry = Geometry(
        kind="convex",
        width=64,
        height=80,
        spacing_mm=(0.5, 0.5),
        radius_start_mm=20,
        radius_stop_mm=60,
        angle_start_deg=-30,
        angle_stop_deg=30,
    )
    one = frame(np.random.default_rng(1).integers(0, 255, (80, 64)).astype(np.uint8), geometry)
    ((_, placed),) = placed_images([one])
    shown = LiveImages().grey(one)
    assert shown.shape == placed.shape and ((shown == 0) | (placed > 0)).mean() > 0.95


def test_the_jpeg_is_grey_and_near():
    grey = np.tile(np.arange(0, 250, dtype=np.uint8), (64, 1))
    back = np.asarray(Image.open(io.BytesIO(jpeg(grey, 75))))
    assert back.shape == grey.shape and np.abs(back.astype(int) - grey).mean() < 2
