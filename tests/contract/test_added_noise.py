"""Contract of additive noise and random erasing: what each does to an image."""

import numpy as np
import pytest
import torch

from ruggedize.views.kinds.additive_noise import quantiles
from ruggedize.views.noise_options import (
    AdditiveNoiseOptions,
    RandomErasingOptions,
)
from ruggedize.views.options import NoiseOptions, ViewOptions
from ruggedize.views.pairs import ViewMaker

ERASING = RandomErasingOptions(fill="noise")


def noise_on_grey(options: NoiseOptions, n: int = 400, place: int = 0) -> np.ndarray:
    """Apply one noise to grey images, `place` further links before it doing nothing."""
    silent = (RandomErasingOptions(probability=0.0),) * place
    maker = ViewMaker(ViewOptions(flip=False, noise=(*silent, options)), image_size=32, seed=0)
    grey = torch.full((n, 3, 32, 32), 100, dtype=torch.uint8)
    return maker.noisy(grey, torch.arange(n), 0).numpy().astype(float) - 100


@pytest.mark.parametrize("distribution", ["gaussian", "uniform"])
def test_additive_noise_draws_each_images_strength_up_to_std(distribution: str) -> None:
    noise = noise_on_grey(AdditiveNoiseOptions(std=0.1, distribution=distribution))
    strengths = noise.reshape(400, -1).std(1)
    assert strengths.max() == pytest.approx(25.5, rel=0.03)
    assert strengths.min() < 0.5
    assert strengths.mean() == pytest.approx(25.5 / 2, rel=0.1)
    assert abs(noise.mean()) < 0.1
    strongest = noise.reshape(400, -1)[strengths.argmax()] / strengths.max()
    assert (strongest**4).mean() == pytest.approx(
        {"gaussian": 3, "uniform": 1.8}[distribution], 0.1
    )


def test_values_of_additive_noise_are_uncorrelated() -> None:
    noise = noise_on_grey(AdditiveNoiseOptions(std=0.3)).reshape(400, -1)[:, :3070]
    strong = noise[noise.std(1) > 20]
    strong = strong / strong.std(1, keepdims=True)
    for shift in (1, 2, 3, 4, 5, 32, 1024):
        together = (strong[:, shift:] * strong[:, :-shift]).mean()
        assert abs(together) < 4.5 / np.sqrt(strong.size)


def test_additive_noise_is_applied_with_its_probability() -> None:
    noise = noise_on_grey(AdditiveNoiseOptions(std=1.0, probability=0.3), n=2000)
    share = (noise != 0).any((1, 2, 3)).mean()
    assert share == pytest.approx(0.3, abs=4.5 * np.sqrt(0.21 / 2000))


def test_quantiles_have_unit_variance_and_zero_mean() -> None:
    for distribution in ("gaussian", "uniform"):
        values = quantiles(distribution).astype(float)
        assert values.mean() == pytest.approx(0, abs=1e-6)
        assert values.std() == pytest.approx(1, abs=1e-6)


def test_equal_kinds_at_two_places_of_a_chain_draw_differently() -> None:
    options = AdditiveNoiseOptions(std=0.3)
    first, second = noise_on_grey(options), noise_on_grey(options, place=1)
    assert not np.array_equal(first, second)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.01


def test_random_erasing_overwrites_one_rectangle_of_the_configured_area_and_aspect() -> None:
    noise = noise_on_grey(RandomErasingOptions(probability=0.5), n=2000)
    erased = noise == 28
    assert set(np.unique(noise)) == {0, 28}, "grey 128 or nothing"
    touched = erased.any((1, 2, 3))
    assert touched.mean() == pytest.approx(0.5, abs=0.05)
    places = []
    for mask in erased[touched]:
        assert (mask == mask[0]).all(), "the channels differ"
        rows, columns = mask[0].any(1), mask[0].any(0)
        assert np.array_equal(mask[0], np.outer(rows, columns)), "not a rectangle"
        assert 0.01 < mask[0].mean() < 0.43
        assert 0.25 < rows.sum() / columns.sum() < 4
        places.append(
            (rows.argmax(), columns.argmax(), rows[::-1].argmax(), columns[::-1].argmax())
        )
    assert np.array(places).min(0).max() == 0, "some edge is never reached"


def test_random_erasing_can_fill_with_random_values() -> None:
    noise = noise_on_grey(RandomErasingOptions(probability=1.0, area=(0.3, 0.4), fill="noise"))
    values = noise[noise != 0] + 100
    assert values.min() == 0
    assert values.max() == 255
    assert values.mean() == pytest.approx(127.5, abs=1)
