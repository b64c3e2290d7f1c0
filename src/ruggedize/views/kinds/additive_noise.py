"""Noise added to every value of an image."""

import math
from functools import cache

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import bits, image_key, normal_quantiles, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.views.noise_options import AdditiveNoiseOptions

NOISES = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")
NUM_QUANTILES = 4096  # 12 bits per value; the largest is 3.7 standard deviations
LOW_BITS = np.uint64(NUM_QUANTILES - 1)
VALUES_PER_HASH = 5
SHIFT = np.uint64(12)
FIRST_NOISE = 2  # counters 0 and 1 draw whether noise is added, and its standard deviation


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: AdditiveNoiseOptions,
) -> None:
    """Write the images with added noise to `out`."""
    probability, std = options.probability, options.std * 255
    values = quantiles(options.distribution)
    shape = len(images), math.prod(images.shape[1:])
    source, target = images.reshape(shape), out.reshape(shape)

    def block(start: int, stop: int) -> None:
        add_noise(source, target, index, stream, probability, std, values, start, stop)

    run_blocks(block, len(images))


def overlaps(options: AdditiveNoiseOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that the noise overlaps: the benchmark's noise corruptions."""
    return {"additive_noise": NOISES}


@cache
def quantiles(distribution: str) -> np.ndarray:
    """Return equally likely values with mean 0 and variance 1: float32 `[NUM_QUANTILES]`."""
    if distribution == "gaussian":
        values = normal_quantiles(NUM_QUANTILES)
    else:
        values = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    values = values - values.mean()
    return (values / values.std()).astype(np.float32)


@kernel
def add_noise(images, out, index, stream, probability, std, quantiles, start, stop):
    """Add noise to images start..stop-1, with a random standard deviation in 0..std for each.

    Images are `[n, values]`; `std` is in pixel levels (0..255). One hash yields five noise values.
    """
    size = images.shape[1]
    for i in range(start, stop):
        key = image_key(stream, index[i])
        image_std = np.float32(uniform(key, 1) * std if uniform(key, 0) < probability else 0.0)
        for first in range(0, size, VALUES_PER_HASH):
            word = bits(key, FIRST_NOISE + first // VALUES_PER_HASH)
            for j in range(first, min(first + VALUES_PER_HASH, size)):
                value = np.float32(images[i, j]) + image_std * quantiles[int(word & LOW_BITS)]
                word >>= SHIFT
                value = min(max(value, np.float32(0)), np.float32(255))
                out[i, j] = np.uint8(np.int32(value + np.float32(0.5)))
