"""Speckle against its laws: amplitude statistics, and decorrelation exp(-d^2 / 2 s^2) of the intensity on every axis."""

from __future__ import annotations

import numpy as np
import pytest

from edge.simulation.speckle import BadSpeckle, PointSpread, SpeckleField

SPREAD = PointSpread()
TOLERANCE = 0.025  # of a correlation; about 200,000 samples of some 10,000 speckles


@pytest.fixture(scope="module")
def field() -> SpeckleField:
    return SpeckleField(SPREAD, seed=1)


def planes_mm(count: int = 8) -> np.ndarray:
    """Points [count, rows, columns, 3] on parallel slices several elevational widths apart, off the grid on every axis."""
    x, y, z = np.arange(160) * 0.147, np.arange(160) * 0.111, np.arange(count) * 3.71
    grid = np.meshgrid(z + 0.1, y + 0.03, x + 0.05, indexing="ij")
    return np.stack(grid[::-1], -1)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["lateral", "axial", "elevational"])
@pytest.mark.parametrize("distance_sd", [0.25, 0.5, 1.0, 1.5, 2.0])
def test_intensity_decorrelates_with_distance_as_the_law_says(field: SpeckleField, axis: int, distance_sd: float) -> None:
    here = planes_mm()
    there = here.copy()
    there[..., axis] += distance_sd * SPREAD.sd_mm[axis]
    measured = np.corrcoef(field.power(here).ravel(), field.power(there).ravel())[0, 1]
    assert measured == pytest.approx(np.exp(-(distance_sd**2) / 2), abs=TOLERANCE)


def test_the_field_itself_decorrelates_half_as_fast_in_the_exponent(field: SpeckleField) -> None:
    here = planes_mm()
    a = field.amplitude(here).ravel()
    b = field.amplitude(here + np.array([0, 0, SPREAD.elevational_mm])).ravel()
    measured = abs(np.vdot(a, b)) / np.sqrt(np.vdot(a, a).real * np.vdot(b, b).real)
    assert measured == pytest.approx(np.exp(-1 / 4), abs=TOLERANCE)


def test_one_look_is_fully_developed_speckle(field: SpeckleField) -> None:
    envelope = np.sqrt(field.power(planes_mm()))
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, abs=0.03)


def test_looks_average_the_speckle_down() -> None:
    power = SpeckleField(SPREAD, seed=1, looks=4, cells=(96, 96, 24)).power(planes_mm())
    assert power.mean() / power.std() == pytest.approx(2.0, abs=0.1)  # sqrt(4); one look has 1


def test_the_grid_does_not_show_in_the_power(field: SpeckleField) -> None:
    corner = planes_mm() // field.step_mm * field.step_mm
    on_grid, between = field.power(corner).mean(), field.power(corner + field.step_mm / 2).mean()
    assert on_grid == pytest.approx(1, abs=0.04)
    assert between == pytest.approx(1, abs=0.04)


def test_the_field_is_periodic_and_continuous_across_the_period(field: SpeckleField) -> None:
    points = planes_mm(2)
    np.testing.assert_allclose(field.power(points), field.power(points + field.period_mm), atol=2e-3)
    just_below, just_above = field.period_mm * (1 - 1e-6), field.period_mm * (1 + 1e-6)
    np.testing.assert_allclose(field.amplitude(just_below), field.amplitude(just_above), atol=2e-3)
    np.testing.assert_allclose(field.power(-points), field.power(field.period_mm - points), atol=2e-3)


def test_the_seed_decides_the_speckle() -> None:
    cells = (32, 32, 16)
    points = planes_mm(1)
    one, same, other = (SpeckleField(SPREAD, seed, cells=cells).power(points) for seed in (5, 5, 6))
    assert np.array_equal(one, same)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1


def test_widths_and_looks_that_make_no_speckle_are_refused_by_name() -> None:
    with pytest.raises(BadSpeckle, match="elevational width"):
        PointSpread(elevational_mm=0)
    with pytest.raises(BadSpeckle, match="0 looks"):
        SpeckleField(SPREAD, seed=0, looks=0)
