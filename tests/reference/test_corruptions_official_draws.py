"""Displacing corruptions, fed with the draws of the official CIFAR-10-C script."""

from collections.abc import Callable

import numpy as np
import pytest

from ruggedize.corruptions import CORRUPTIONS
from ruggedize.corruptions.names import SEVERITIES
from tests import fed_corruptions
from tests.reference.test_corruptions_official import Official, agree, expected

SIDE = 32


def glass_blur(rng: np.random.RandomState, pixels: np.ndarray, level) -> np.ndarray:
    _, largest, num_rounds = level
    strewn = SIDE - 2 * largest
    draws = [rng.randint(-largest, largest, size=2) for _ in range(num_rounds * strewn**2)]
    offsets = np.array(draws).reshape(num_rounds, strewn, strewn, 2)
    return fed_corruptions.glass_blur(pixels, level, offsets)


def motion_blur(rng: np.random.RandomState, pixels: np.ndarray, level) -> np.ndarray:
    return fed_corruptions.motion_blur(pixels, level, rng.uniform(-45, 45))


def elastic_transform(rng: np.random.RandomState, pixels: np.ndarray, level) -> np.ndarray:
    moves = rng.uniform(-level[2], level[2], size=(3, 2))
    noise = rng.uniform(-1, 1, size=(2, SIDE, SIDE))
    return fed_corruptions.elastic_transform(pixels, level, moves, noise)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("draw_and_apply", [glass_blur, motion_blur, elastic_transform])
def test_fed_with_the_official_draws_the_images_agree(
    draw_and_apply: Callable, severity: int, cifar10_test, official_corruptions: Official
):
    name = draw_and_apply.__name__
    level = CORRUPTIONS[name].cifar[severity - 1]
    rng = np.random.RandomState(1000 * severity)
    clean = cifar10_test[0][:100].numpy()
    fed = np.stack([draw_and_apply(rng, pixels, level) for pixels in clean])
    unfed = np.stack([draw_and_apply(rng, pixels, level) for pixels in clean])
    official = expected(official_corruptions, name, severity)
    assert agree(fed, official)
    assert not agree(unfed, official)  # it bites


@pytest.mark.parametrize("severity", SEVERITIES)
def test_glass_blur_is_neither_brighter_nor_darker(
    severity: int, cifar10_test, official_corruptions: Official
):
    rng = np.random.RandomState(1000 * severity)
    level = CORRUPTIONS["glass_blur"].cifar[severity - 1]
    fed = np.stack([glass_blur(rng, pixels, level) for pixels in cifar10_test[0][:100].numpy()])
    off = fed.astype(int) - expected(official_corruptions, "glass_blur", severity)
    assert abs(off.mean()) < 0.005
    assert np.abs(off).mean() < 0.005
    assert np.abs(off).max() <= 1
