"""Noise in L_p balls and in patches against NumPy, from the papers' formulas."""

from statistics import NormalDist

import numpy as np
import pytest

from ruggedize.core.seeding import stream_key
from ruggedize.views.kinds import lp_noise, patch_noise
from ruggedize.views.noise_options import LpNoiseOptions, PatchNoiseOptions
from tests.image_draws import Draws

STREAM = stream_key(3, "test")
NUM_STEPS = 4096  # each value is one of this many quantiles
NORMS = {"linf": np.inf, "l2": 2, "l1": 1}
RADII = {"linf": 0.1, "l2": 5, "l1": 200}


def images_of(n: int, value: int | None = None, side: int = 32) -> np.ndarray:
    if value is not None:
        return np.full((n, 3, side, side), value, np.uint8)
    return np.random.default_rng(0).integers(0, 256, (n, 3, side, side), np.uint8)


def steps(draws: Draws, counter: int, number: int) -> list[float]:
    """Return the first chances that a hash contains, 12 bits each."""
    word = draws.bits(counter)
    return [((word >> 12 * place) % NUM_STEPS + 0.5) / NUM_STEPS for place in range(number)]


def inverse(norm: str, chance: float) -> float:
    """Return a quantile of the density exp(-|x|^p) (its scale does not matter)."""
    if norm == "linf":
        return 2 * chance - 1
    if norm == "l2":
        return NormalDist().inv_cdf(chance)
    return np.log(2 * chance) if chance < 0.5 else -np.log(2 * (1 - chance))


def in_a_ball(image: np.ndarray, draws: Draws, norm: str) -> np.ndarray:
    size = image.size
    chances = np.array([steps(draws, 3 + first, 5) for first in range(-(-size // 5))])
    values = np.array([inverse(norm, chance) for chance in chances.ravel()[:size]])
    radius = draws.uniform(1) * RADII[norm]
    if norm == "linf":
        noise = radius * values
    else:
        length = np.linalg.norm(values, NORMS[norm])
        noise = draws.uniform(2) ** (1 / size) * radius * values / length
    return image / 255 + noise.reshape(image.shape)


def to_pixels(image: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("norm", NORMS)
def test_noise_in_a_ball_follows_the_formula(norm: str) -> None:
    images, index = images_of(8), np.arange(8) + 40
    out = np.empty_like(images)
    lp_noise.apply(images, out, index, STREAM, LpNoiseOptions(norm=norm))
    expected = [
        to_pixels(in_a_ball(image, Draws(STREAM, number), norm))
        for image, number in zip(images, index, strict=True)
    ]
    assert (out == np.stack(expected)).mean() > 0.9999
    other = [
        to_pixels(in_a_ball(image, Draws(STREAM, number + 1), norm))
        for image, number in zip(images, index, strict=True)
    ]
    assert (out == np.stack(other)).mean() < 0.5  # must differ


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("norm", NORMS)
def test_radii_are_uniform_up_to_the_largest(norm: str, side: int) -> None:
    images = images_of(400, 128, side)
    out = np.empty_like(images)
    lp_noise.apply(images, out, np.arange(400), STREAM, LpNoiseOptions(norm=norm))
    noise = (out.astype(float) - 128).reshape(400, -1) / 255
    lengths = np.linalg.norm(noise, NORMS[norm], axis=1)
    scale = {"linf": 1, "l2": side / 32, "l1": (side / 32) ** 2}[norm]
    assert lengths.max() / (RADII[norm] * scale) == pytest.approx(1, abs=0.03)
    assert lengths.mean() / (RADII[norm] * scale) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("norm", NORMS)
def test_noise_in_a_ball_is_added_with_its_probability(norm: str) -> None:
    images = images_of(2000, 128, 8)
    out, options = np.empty_like(images), LpNoiseOptions(norm=norm, probability=0.3, radius=90)
    lp_noise.apply(images, out, np.arange(2000), STREAM, options)
    assert (out != 128).any((1, 2, 3)).mean() == pytest.approx(0.3, abs=0.05)


def in_a_patch(image: np.ndarray, draws: Draws, largest: int) -> np.ndarray:
    height, width = image.shape[1:]
    side, std = 1 + draws.integer(1, largest), draws.uniform(2)
    y, x = draws.integer(3, height), draws.integer(4, width)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    top, left = y - side // 2, x - side // 2
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    chances = [steps(draws, 5 + place, 3) for place in range(height * width)]
    values = np.array([[NormalDist().inv_cdf(chance) for chance in three] for three in chances])
    values /= np.std([NormalDist().inv_cdf((q + 0.5) / NUM_STEPS) for q in range(NUM_STEPS)])
    noise = std * values.T.reshape(image.shape)
    return image / 255 + noise * inside


def test_noise_in_a_patch_follows_the_formula() -> None:
    images, index = images_of(12), np.arange(12) + 7
    out = np.empty_like(images)
    patch_noise.apply(images, out, index, STREAM, PatchNoiseOptions())
    expected = [
        to_pixels(in_a_patch(image, Draws(STREAM, number), 25))
        for image, number in zip(images, index, strict=True)
    ]
    assert (out == np.stack(expected)).mean() > 0.9999
    changed = (out != images).any(1).mean((1, 2))
    assert 0 < changed.min() < 0.05 < changed.max() < 1


def test_patches_are_square_and_reach_every_edge() -> None:
    images = images_of(2000, 128)
    out, options = np.empty_like(images), PatchNoiseOptions(probability=0.5)
    patch_noise.apply(images, out, np.arange(2000), STREAM, options)
    touched = (out != 128).any(1)
    assert touched.any((1, 2)).mean() == pytest.approx(0.5, abs=0.06)
    covered = touched.mean(0)
    assert covered.min() > 0.02
    assert covered[16, 16] > 1.5 * covered[0, 0]
    sides = [max(mask.any(0).sum(), mask.any(1).sum()) for mask in touched if mask.any()]
    assert max(sides) == 25
