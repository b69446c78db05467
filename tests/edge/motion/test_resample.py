"""Resampling to a network's own millimetres per pixel."""

from __future__ import annotations

import numpy as np
import pytest

from edge.motion.resample import Resampler, weights

NOISE = np.random.default_rng(1).integers(0, 256, (48, 60), dtype=np.uint8)


def slow(image: np.ndarray, spacing: tuple[float, float], size: tuple[int, int], target: tuple[float, float]) -> np.ndarray:
    """The definition by supersampling: the mean of the nearest pixel over many points of each output pixel."""
    many = 40
    answer = np.zeros((size[1], size[0]))
    at = (np.arange(many) + 0.5) / many - 0.5
    for row in range(size[1]):
        for column in range(size[0]):
            y = (row + 0.5 + at) * target[1] / spacing[1] - 0.5
            x = (column - (size[0] - 1) / 2 + at) * target[0] / spacing[0] + (image.shape[1] - 1) / 2
            i, j = np.rint(y).astype(int), np.rint(x).astype(int)
            inside = ((i >= 0) & (i < image.shape[0]))[:, None] & ((j >= 0) & (j < image.shape[1]))[None, :]
            values = image[np.clip(i, 0, image.shape[0] - 1)[:, None], np.clip(j, 0, image.shape[1] - 1)[None, :]]
            answer[row, column] = (values * inside).mean()
    return answer


def test_equal_pixels_are_copied_exactly():
    assert np.array_equal(Resampler(60, 48, (0.2, 0.3))(NOISE, (0.2, 0.3)), NOISE)


def test_shrinking_is_the_mean_over_the_area_and_beyond_the_image_is_nothing():
    size, target, spacing = (20, 25), (0.53, 0.61), (0.2, 0.3)
    found = Resampler(*size, target)(NOISE, spacing)
    assert found.dtype == np.float32
    assert np.abs(found - slow(NOISE, spacing, size, target)).max() < 8, "supersampling itself errs by 1/40 of a pixel"
    assert found[-1].max() == 0, "the window is deeper than the image"


def test_the_finest_pattern_does_not_alias_when_shrunk():
    stripes = np.tile(np.array([0, 255], np.uint8), (48, 30))
    inner = Resampler(20, 16, (0.5, 0.5))(stripes, (0.1, 0.1))[:9, 4:16]
    assert np.abs(inner - 127.5).max() <= 25.6, "five pixels hold two or three stripes"


def test_growing_is_linear_interpolation():
    ramp = np.tile(np.arange(60, dtype=np.uint8) * 4, (48, 1))
    found = Resampler(90, 60, (0.1, 0.1))(ramp, (0.2, 0.2))
    at = (59 / 2 + (np.arange(90) - 89 / 2) / 2) * 4
    assert np.allclose(found[2:50], at, atol=1e-4)


@pytest.mark.parametrize("width", [40, 41, 60, 75])
def test_the_window_hangs_from_the_middle_of_the_top_edge(width):
    image = np.zeros((40, width), np.uint8)
    image[:, : width // 2] = image[:, (width + 1) // 2 :] = 200
    image[0] = 100
    found = Resampler(16, 12, (0.6, 0.6))(image, (0.2, 0.2))
    assert np.allclose(found, found[:, ::-1], atol=1e-3), "symmetric images stay symmetric"
    assert found[0].max() < found[1].max(), "the top row of the image is in the top row of the window"


def test_one_network_serves_several_depths():
    y, x = np.mgrid[0:400, 0:400]
    tissue = 120 + 80 * np.sin(x * 0.05) * np.cos(y * 0.04)
    coarse = tissue.reshape(200, 2, 200, 2).mean((1, 3))
    resample = Resampler(64, 64, (0.4, 0.4))
    first = resample(tissue.astype(np.float32), (0.1, 0.1))
    assert np.abs(resample(coarse.astype(np.float32), (0.2, 0.2)) - first).max() < 1e-3
    assert np.array_equal(resample(tissue.astype(np.float32), (0.1, 0.1)), first), "back in the first geometry"


def test_the_shares_of_a_pixel_inside_the_image_sum_to_one():
    for ratio in (0.3, 1.0, 1.7, 4.2):
        shares = weights(100, 10.0, 12, ratio)
        assert np.allclose(shares.sum(1), 1)


def test_an_image_smaller_than_one_pixel_of_the_network_is_no_crash():
    assert Resampler(8, 8, (5.0, 5.0))(np.full((2, 2), 255, np.uint8), (0.1, 0.1)).max() < 1
