"""The phantom as known truth: what lies where, nothing finer than a 0.25 mm voxel can hold, the same for every caller."""

from __future__ import annotations

import numpy as np
import pytest

from edge.simulation.display import Display
from edge.simulation.phantom import BadPhantom, Phantom

SIZE_MM = (40.0, 48.0, 60.0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom(SIZE_MM)


def lattice(start_mm: tuple[float, ...], counts: tuple[int, ...], spacing_mm: float) -> np.ndarray:
    """Points [nx, ny, nz, 3]."""
    return np.stack(np.meshgrid(*(s + spacing_mm * np.arange(n) for s, n in zip(start_mm, counts, strict=True)), indexing="ij"), -1)


def test_cysts_are_dark_and_the_tissue_behind_them_is_brighter(phantom: Phantom) -> None:
    for cyst in phantom.cysts[:3]:
        x, y, z = cyst.center_mm
        assert phantom.echo_db(np.array([x, y, z])) < -55
    without = Phantom(SIZE_MM)
    without.cysts.clear()
    cyst = phantom.cysts[0]
    behind = np.array(cyst.center_mm) + np.array([0, cyst.radius_mm[1] + 2.5, 0])
    beside = np.array(cyst.center_mm) + np.array([1.5 * cyst.radius_mm[0], 0, 0])
    assert phantom.echo_db(behind) > without.echo_db(behind) + 4
    assert phantom.echo_db(beside) == pytest.approx(without.echo_db(beside), abs=0.1)


def test_the_vessel_is_one_dark_lumen_that_forks(phantom: Phantom) -> None:
    def lumens(z_mm: float) -> int:
        row = phantom.absorption_db(lattice((0, 12, z_mm), (161, 115, 1), 0.25))[..., 0] > -30
        columns = row.any(axis=1).astype(int)
        return int((np.diff(columns) == 1).sum())

    assert lumens(5) == 1
    assert lumens(55) == 2
    trunk = phantom.vessel[0]
    assert phantom.echo_db(np.array([trunk.x_mm, trunk.y_mm + 1, 0.0])) < -50


def test_bone_is_bright_and_casts_a_shadow(phantom: Phantom) -> None:
    x, y, z = phantom.bone.top_mm
    above, on, below = phantom.echo_db(np.array([[x, y - 3, z], [x, y, z], [x, y + 4, z]]))
    assert on > above + 15
    assert below < above - 15


def test_wires_are_bright_dots_across_the_slice(phantom: Phantom) -> None:
    wire = phantom.wires[0]
    on, beside = phantom.echo_db(np.array(wire.point_mm) + np.array([[0, 0, 33.0], [1.2, 0, 33.0]]))
    assert on > beside + 10


REGIONS_MM = {"fat": (8, 2, 10), "muscle": (15, 8, 10), "vessel": (10, 22, 20), "bone": (28, 34, 26), "wire": (0, 12, 10)}


@pytest.mark.parametrize("start_mm", REGIONS_MM.values(), ids=REGIONS_MM)
def test_grey_does_not_alias_in_quarter_millimetre_voxels(phantom: Phantom, start_mm: tuple[float, ...]) -> None:
    """At most half a percent of the power of a slice lies above the 2 cycles/mm that such voxels can hold."""
    spacing_mm, pixels = 0.0625, 192
    grey = phantom.grey(lattice(start_mm, (pixels, pixels, 1), spacing_mm))[..., 0].astype(np.float64)
    window = np.hanning(pixels)[:, None] * np.hanning(pixels)
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    too_fine = np.abs(np.fft.fftfreq(pixels, spacing_mm)) > 2
    assert power[too_fine[:, None] | too_fine].sum() < 0.005 * power.sum()


def test_a_phantom_has_contrast_and_is_neither_black_nor_white(phantom: Phantom) -> None:
    grey = phantom.grey(lattice((0, 0, 0), (41, 49, 61), 1.0), Display(60, 3))
    assert grey.dtype == np.float32
    assert 60 < grey.mean() < 180
    assert grey.std() > 20
    assert (grey >= 255).mean() < 0.01


def test_points_of_any_shape_give_the_same_values_one_by_one(phantom: Phantom) -> None:
    points = lattice((10, 10, 20), (3, 4, 2), 3.0)
    whole = phantom.echo_db(points)
    assert whole.shape == (3, 4, 2)
    one = phantom.echo_db(points[1, 2, 1])
    assert one.shape == ()
    assert one == pytest.approx(whole[1, 2, 1], abs=1e-3)


def test_echogenicity_is_the_power_of_the_decibels(phantom: Phantom) -> None:
    points = lattice((10, 10, 20), (5, 5, 1), 3.0)
    np.testing.assert_allclose(10 * np.log10(phantom.echogenicity(points)), phantom.echo_db(points), atol=1e-3)


def test_the_seed_decides_the_phantom_and_a_negative_length_mirrors_it(phantom: Phantom) -> None:
    points = lattice((5, 5, 5), (10, 10, 10), 3.0)
    assert np.array_equal(phantom.grey(points), Phantom(SIZE_MM, 0).grey(points))
    assert not np.allclose(phantom.grey(points), Phantom(SIZE_MM, 1).grey(points))
    mirrored = Phantom((40.0, 48.0, -60.0), 0)
    assert np.array_equal(phantom.grey(points), mirrored.grey(points * [1, 1, -1]))


def test_a_phantom_without_size_is_refused_by_name() -> None:
    with pytest.raises(BadPhantom, match="no inside"):
        Phantom((40.0, 0.0, 60.0))
