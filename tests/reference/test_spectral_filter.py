"""Random filters against SciPy, from PRIME's formula."""

from statistics import NormalDist

import numpy as np
import pytest
from scipy.ndimage import correlate

from ruggedize.core.seeding import stream_key
from ruggedize.views.kinds import spectral_filter
from ruggedize.views.noise_options import SpectralFilterOptions
from tests.image_draws import Draws

STREAM = stream_key(4, "test")
NUM_STEPS = 4096
QUANTILES = np.array([NormalDist().inv_cdf((q + 0.5) / NUM_STEPS) for q in range(NUM_STEPS)])


def filtered(image: np.ndarray, draws: Draws, size: int, std: float) -> np.ndarray:
    steps = [draws.integer(2 + number, NUM_STEPS) for number in range(size * size)]
    weights = std * (QUANTILES / QUANTILES.std())[steps].reshape(size, size)
    weights[size // 2, size // 2] += 1
    values = image / 255
    result = np.stack([correlate(channel, weights, mode="constant") for channel in values])
    share = draws.uniform(1)
    return 255 * ((1 - share) * values + share * np.clip(result, 0, 1))


@pytest.mark.parametrize(("size", "std"), [(3, 4.0), (3, 0.1), (5, 0.3)])
def test_filters_follow_the_formula(size: int, std: float) -> None:
    images = np.random.default_rng(1).integers(0, 256, (30, 3, 32, 24), np.uint8)
    index, out = np.arange(30) + 3, np.empty_like(images)
    options = SpectralFilterOptions(size=size, std=std)
    spectral_filter.apply(images, out, index, STREAM, options)
    expected = [
        filtered(image, Draws(STREAM, n), size, std) for image, n in zip(images, index, strict=True)
    ]
    difference = np.abs(out - np.stack(expected))
    assert difference.max() < 0.51
    assert np.abs(out[1:] - np.stack(expected)[:-1]).mean() > 10  # must differ


def test_filters_are_applied_with_their_probability() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2000, 3, 8, 8), np.uint8)
    out, options = np.empty_like(images), SpectralFilterOptions(probability=0.3)
    spectral_filter.apply(images, out, np.arange(2000), STREAM, options)
    assert (out != images).any((1, 2, 3)).mean() == pytest.approx(0.3, abs=0.05)
