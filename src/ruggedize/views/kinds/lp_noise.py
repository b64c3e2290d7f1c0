"""Noise that is uniform in a ball of the L_inf, L_2 or L_1 norm."""

import math
from functools import cache

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import bits, image_key, normal_quantiles, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.views.kinds.additive_noise import (
    LOW_BITS,
    NOISES,
    NUM_QUANTILES,
    SHIFT,
    VALUES_PER_HASH,
)
from ruggedize.views.noise_options import LpNoiseOptions

RADII = {"linf": 0.1, "l2": 5.0, "l1": 200.0}  # Siedel et al. 2024, for 32-pixel images
POWERS = {"linf": 0, "l2": 2, "l1": 1}  # 0 stands for infinity
NUM_VALUES = 3 * 32 * 32  # of the images that the radii apply to
APPLIED, RADIUS, DEPTH = 0, 1, 2  # counters; DEPTH draws the distance from the ball's centre
FIRST_NOISE = 3


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: LpNoiseOptions,
) -> None:
    """Write the images with noise to `out`."""
    shape = len(images), math.prod(images.shape[1:])
    source, target = images.reshape(shape), out.reshape(shape)
    ball = POWERS[options.norm], radius_for(options, shape[1]) * 255, options.probability
    table = quantiles(options.norm)

    def block(start: int, stop: int) -> None:
        rows, noise = slice(start, stop), np.empty(shape[1], np.float32)
        add_noise(source[rows], target[rows], index[rows], stream, ball, table, noise)

    run_blocks(block, len(images))


def overlaps(options: LpNoiseOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that the noise overlaps: the benchmark's noise corruptions.

    Noise that is uniform in an L_2 ball of many dimensions is nearly Gaussian.
    """
    return {f"lp_noise {options.norm}": NOISES}


def radius_for(options: LpNoiseOptions, num_values: int) -> float:
    """Return the largest radius for images of this many values."""
    power, radius = POWERS[options.norm], options.radius or RADII[options.norm]
    return radius * (num_values / NUM_VALUES) ** (1 / power if power else 0)


@cache
def quantiles(norm: str) -> np.ndarray:
    """Return equally likely values with density proportional to exp(-|x|^p); for L_inf, -1..1."""
    chances = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    if norm == "linf":
        values = 2 * chances - 1
    elif norm == "l2":
        values = normal_quantiles(NUM_QUANTILES)
    else:
        values = np.sign(chances - 0.5) * -np.log(1 - np.abs(2 * chances - 1))
    return values.astype(np.float32)


@kernel
def add_noise(images, out, index, stream, ball, quantiles, noise):
    """Add noise to images, `[n, values]`; `ball` is the norm's power, its radius, the probability.

    Source: Calafiore et al. 1998 and Siedel et al. 2024: z^(1/d) r x / |x|_p for d values x with
    density proportional to exp(-|x|^p) and uniform z.
    Deviation: values are quantiles in 4096 steps.
    """
    power, radius, probability = ball
    for i in range(len(images)):
        key = image_key(stream, index[i])
        scale = uniform(key, RADIUS) * radius if uniform(key, APPLIED) < probability else 0.0
        length = draw_values(key, quantiles, power, noise)
        if power:
            scale *= uniform(key, DEPTH) ** (1.0 / noise.size) / length
        single = np.float32(scale)
        for j in range(noise.size):
            value = np.float32(images[i, j]) + single * noise[j]
            value = min(max(value, np.float32(0)), np.float32(255))
            out[i, j] = np.uint8(np.int32(value + np.float32(0.5)))


@kernel
def draw_values(key, quantiles, power, noise):
    """Fill `noise` with random values; return their norm, or 1 for L_inf."""
    total = 0.0
    for first in range(0, noise.size, VALUES_PER_HASH):
        word = bits(key, FIRST_NOISE + first // VALUES_PER_HASH)
        for j in range(first, min(first + VALUES_PER_HASH, noise.size)):
            noise[j] = quantiles[int(word & LOW_BITS)]
            word >>= SHIFT
            total += noise[j] * noise[j] if power == 2 else abs(noise[j])
    return math.sqrt(total) if power == 2 else total if power else 1.0
