"""Beams to image: every pixel against the geometry of the fan, and the look-up itself against float64."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.compounding import BadFrame, VolumeSettings, host
from edge.compounding.scan_conversion import BadSector, ScanTable, Sector


def fan(start=-30.0, stop=30.0, beams=96, samples=200):
    return Sector(beams, samples, 40.0, 120.0, start, stop)


def converted(table, pixels):
    with host.Compounder(VolumeSettings(), 2) as volume:
        return np.asarray(volume.image(pixels, look_up=table.look_up))


def grid(table):
    height, width = table.index.shape
    return np.meshgrid((np.arange(width) - (width - 1) / 2) * table.spacing_mm, table.z_top_mm + np.arange(height) * table.spacing_mm)


@pytest.mark.parametrize("angles", [(-30, 30), (30, -30), (-10, 40), (5, 35), (-90, 90)])
def test_radius_and_angle_come_out_where_the_geometry_puts_them(angles):
    table = ScanTable(fan(*angles), 0.7)
    x, z = grid(table)
    radius, angle = np.hypot(x, z), np.degrees(np.arctan2(x, z))
    inside = table.valid == 1
    samples = np.repeat(np.linspace(0, 250, 200)[:, None], 96, 1).round().astype(np.uint8)
    beams = np.repeat(np.linspace(0, 250, 96)[None], 200, 0).round().astype(np.uint8)
    error = np.abs(converted(table, samples) - (radius - 40) / 80 * 250)[inside]
    assert error.max() < 1.2
    error = np.abs(converted(table, beams) - (angle - angles[0]) / (angles[1] - angles[0]) * 250)[inside]
    assert error.max() < 1.2
    clear = (np.abs(radius - 40) > 1e-6) & (np.abs(radius - 120) > 1e-6)
    clear &= (np.abs(angle - angles[0]) > 1e-6) & (np.abs(angle - angles[1]) > 1e-6)
    wanted = (radius > 40) & (radius < 120) & (angle > min(angles)) & (angle < max(angles))
    assert np.array_equal(inside[clear], wanted[clear])


def test_the_image_is_as_large_as_documented():
    table = ScanTable(fan(), 0.5)
    assert table.z_top_mm == pytest.approx(40 * np.cos(np.radians(30)))
    assert table.index.shape == (int((120 - table.z_top_mm) / 0.5) + 1, 2 * int(120 * 0.5 / 0.5) + 1)
    assert table.valid[-1].any()
    assert table.valid[:, [0, -1]].any() or 120 * np.sin(np.radians(30)) % 0.5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), beams=st.integers(2, 40), samples=st.integers(2, 40), spacing=st.floats(0.8, 4))
def test_the_look_up_is_bilinear_and_0_outside(seed, beams, samples, spacing):
    table = ScanTable(fan(-25, 35, beams, samples), spacing)
    pixels = np.random.default_rng(seed).integers(0, 256, (samples, beams), dtype=np.uint8)
    image = converted(table, pixels)
    want = oracle.remapped(pixels, table.index, table.fraction_lateral, table.fraction_axial)
    assert np.abs(image - want).max() <= 0.5 + 1e-9
    assert not image[table.valid == 0].any()


def test_every_instruction_set_looks_up_the_same_bytes():
    table = ScanTable(fan(), 0.6)
    pixels = np.random.default_rng(1).integers(0, 256, (200, 96), dtype=np.uint8)
    results = []
    for variant in host.variants():
        with host.Compounder(VolumeSettings(), 1, variant) as volume:
            results.append(np.asarray(volume.image(pixels, look_up=table.look_up)))
    assert all(np.array_equal(results[0], other) for other in results)


def test_an_index_outside_the_source_reads_nothing():
    pixels = np.full((5, 7), 200, np.uint8)
    index = np.array([[-1, -(2**31), 2**31 - 1, 34, 28, 27, 26, 0]], np.int32)
    zero = np.zeros(index.shape, np.uint8)
    with host.Compounder(VolumeSettings(), 1) as volume:
        assert np.asarray(volume.image(pixels, look_up=(index, zero, zero))).tolist() == [[0, 0, 0, 0, 0, 0, 200, 200]]
        with pytest.raises(BadFrame, match="look-up"):
            volume.image(pixels, look_up=(index, zero, zero[:, 1:]))
        with pytest.raises(BadFrame, match="uint8"):
            volume.image(pixels, look_up=(index, zero.astype(float), zero))


@pytest.mark.parametrize(
    "wrong",
    [
        (1, 9, 0, 9, -9, 9),
        (9, 1, 0, 9, -9, 9),
        (9, 9, 9, 9, -9, 9),
        (9, 9, -1, 9, -9, 9),
        (9, 9, 0, 9, 5, 5),
        (9, 9, 0, 9, -91, 9),
        (9, 9, 0, float("nan"), -9, 9),
        (9, 9, 0, 9, float("nan"), 9),
    ],
)
def test_a_sector_without_an_image_is_refused(wrong):
    with pytest.raises(BadSector):
        Sector(*wrong)


@pytest.mark.parametrize("spacing_mm", [0.0, -1.0, float("nan"), 1e-3, 1e3])
def test_a_spacing_that_makes_no_image_is_refused(spacing_mm):
    with pytest.raises(BadSector):
        ScanTable(fan(), spacing_mm)
