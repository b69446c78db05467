"""The speckle of the training source against its laws."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from export.training.speckle import SpeckleBank, Spread  # noqa: E402

SPREAD = Spread(0.13, 0.26, 1.2, 10.0, 25.0, 50.0, looks=1)


@pytest.fixture(scope="module")
def bank() -> SpeckleBank:
    return SpeckleBank(SPREAD, 20.0, 1, cells=(64, 48))


def drawn(depth: float, reach: float = 0.5, points: int = 40_000) -> list[torch.Tensor]:
    random = np.random.default_rng(3)
    bounds = (0, 200), (depth - reach, depth + reach), (0, 200)
    return [torch.as_tensor(random.uniform(*bound, points), dtype=torch.float32)[None] for bound in bounds]


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.ravel().numpy(), b.ravel().numpy())[0, 1])


@pytest.mark.parametrize("depth", [1.0, 10.0, 19.0])
@pytest.mark.parametrize("distance", [0.4, 1.0, 1.6])
def test_intensity_decorrelates_elevationally_by_the_gaussian_law_of_its_depth(bank: SpeckleBank, depth: float, distance: float) -> None:
    x, y, z = drawn(depth)
    law = np.exp(-(distance**2) / (2 * SPREAD.elevational_at(np.array(depth)) ** 2))
    assert correlation(bank.power(x, y, z), bank.power(x, y, z + distance)) == pytest.approx(law, abs=0.06)


def test_in_the_plane_it_decorrelates_by_the_widths_across_and_along_the_beam(bank: SpeckleBank) -> None:
    x, y, z = drawn(10.0)
    start = bank.power(x, y, z)
    assert correlation(start, bank.power(x + 0.26, y, z)) == pytest.approx(np.exp(-0.5), abs=0.05)
    assert correlation(start, bank.power(x, y + 0.13, z)) == pytest.approx(np.exp(-0.5), abs=0.05)


def test_one_look_is_fully_developed_speckle_of_unit_power(bank: SpeckleBank) -> None:
    power = bank.power(*drawn(10.0))
    amplitude = power.sqrt()
    assert float(power.mean()) == pytest.approx(1, abs=0.08)
    assert float(amplitude.mean() / amplitude.std()) == pytest.approx(1.913, rel=0.05)


def test_looks_are_independent() -> None:
    four = SpeckleBank(Spread(0.2, 0.4, 1.2, 10.0, 25.0, 50.0, looks=4), 10.0, 2, cells=(48, 32))
    x, y, z = drawn(5.0)
    power = four.power(x, y, z)
    assert float(power.mean() / power.std()) == pytest.approx(2.0, rel=0.1)  # sqrt of the number of looks


def test_a_share_of_fresh_speckle_comes_anew_in_every_frame(bank: SpeckleBank) -> None:
    x, y, z = (torch.cat([a, a]) for a in drawn(10.0, 10.0))
    fresh = torch.tensor([11, 29], dtype=torch.int32)
    power = bank.power(x, y, z, fresh, 0.3)
    assert correlation(power[0], power[1]) == pytest.approx(0.7**2, abs=0.06)  # of the intensity: the field's, squared
    assert float(power.mean()) == pytest.approx(1, abs=0.08)
