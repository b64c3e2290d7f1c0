"""The slow and obvious corruptions under one signature: (pixels [h, w, 3], level, rng) -> pixels.

The benchmark measures ours beside these; the reference tests check ours against them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.reference import test_corruptions_oracle as plain
from tests.reference import test_corruptions_oracle_blurs as blurs
from tests.reference import weather_oracle as weather

Oracle = Callable[[np.ndarray, Any, np.random.RandomState], np.ndarray]


def gaussian_noise(pixels: np.ndarray, std: float, rng: np.random.RandomState) -> np.ndarray:
    return plain.to_pixels(pixels / 255 + rng.normal(size=pixels.shape, scale=std))


def speckle_noise(pixels: np.ndarray, std: float, rng: np.random.RandomState) -> np.ndarray:
    values = pixels / 255
    return plain.to_pixels(values + values * rng.normal(size=pixels.shape, scale=std))


def shot_noise(pixels: np.ndarray, photons: float, rng: np.random.RandomState) -> np.ndarray:
    return plain.to_pixels(rng.poisson(pixels / 255 * photons) / photons)


def impulse_noise(pixels: np.ndarray, amount: float, rng: np.random.RandomState) -> np.ndarray:
    is_hit = rng.uniform(size=pixels.shape) < amount
    return np.where(is_hit, 255 * (rng.uniform(size=pixels.shape) < 0.5), pixels).astype(np.uint8)


def motion_blur(pixels: np.ndarray, level: Any, rng: np.random.RandomState) -> np.ndarray:
    return blurs.motion_blur(pixels, level, rng.uniform(-45, 45))


def glass_blur(pixels: np.ndarray, level: Any, rng: np.random.RandomState) -> np.ndarray:
    _, largest, num_rounds = level
    rows, columns = (max(0, length - 2 * largest) for length in pixels.shape[:2])
    offsets = rng.randint(-largest, largest, (num_rounds, rows, columns, 2))
    return blurs.glass_blur(pixels, level, offsets)


def elastic_transform(pixels: np.ndarray, level: Any, rng: np.random.RandomState) -> np.ndarray:
    moves = rng.uniform(-level[2], level[2], (3, 2))
    noise = rng.uniform(-1, 1, (2, *pixels.shape[:2]))
    return blurs.elastic_transform(pixels, level, moves, noise)


def without_draws(oracle: Callable[[np.ndarray, Any], np.ndarray]) -> Oracle:
    return lambda pixels, level, rng: oracle(pixels, level)


RANDOM = (gaussian_noise, shot_noise, impulse_noise, speckle_noise)
RANDOM += (glass_blur, motion_blur, elastic_transform)
ORACLES: dict[str, Oracle] = {
    **{oracle.__name__: oracle for oracle in RANDOM},
    **{name: without_draws(oracle) for name, oracle in plain.ORACLES.items()},
    "defocus_blur": without_draws(blurs.defocus_blur),
    "zoom_blur": without_draws(blurs.zoom_blur),
    **weather.ORACLES,
}
