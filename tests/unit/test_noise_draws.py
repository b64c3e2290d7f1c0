"""Random draws follow their named distributions."""

import math

import numpy as np
import pytest

from ruggedize.core.seeding import stream_key
from ruggedize.corruptions import pixel_noise
from ruggedize.kernels.draws import image_key


def test_the_normal_quantiles_have_the_moments_of_the_normal_distribution():
    values = pixel_noise.normal_table().astype(float)
    assert abs(values.mean()) < 1e-6
    assert abs(values.std() - 1) < 1e-3
    assert abs((values**4).mean() - 3) < 0.01
    assert abs((np.cbrt(values) ** 4).mean() - 3) > 0.1  # must differ


def test_the_normal_draws_use_all_quantiles_alike():
    draws = np.empty(1_000_001, np.float32)
    pixel_noise.draw_normals(
        np.uint64(image_key(stream_key(0, "test"), 5)), pixel_noise.normal_table(), draws
    )
    sixteenths = np.quantile(pixel_noise.normal_table(), np.arange(1, 16) / 16)
    counts = np.bincount(np.searchsorted(sixteenths, draws), minlength=16)
    expected = len(draws) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # chi-square, 15 degrees, p = 0.001
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.004


@pytest.mark.parametrize("photons", [500.0, 60.0, 3.0])
def test_the_alias_tables_hold_the_poisson_distribution(photons: float):
    lowest, cuts, others = pixel_noise.poisson_tables(photons)
    for value in (0, 1, 97, 255):
        chances = alias_chances(cuts[value], others[value])
        expected = poisson(value * photons / 255, int(lowest[value]), len(chances))
        assert np.abs(chances - expected).max() < 1e-7
        wrong = poisson((value + 1) * photons / 255, int(lowest[value]), len(chances))
        assert np.abs(chances - wrong).max() > 1e-6  # must differ


def alias_chances(cuts: np.ndarray, others: np.ndarray) -> np.ndarray:
    own = np.where(cuts == 2**32 - 1, 1.0, cuts / 2**32)
    return (own + np.bincount(others, 1 - own, len(cuts))) / len(cuts)


def poisson(rate: float, lowest: int, n: int) -> np.ndarray:
    if rate == 0:
        return np.eye(1, n)[0]
    counts = np.arange(lowest, lowest + n)
    return np.exp([k * math.log(rate) - rate - math.lgamma(k + 1) for k in counts])
