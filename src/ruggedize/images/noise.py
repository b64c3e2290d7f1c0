"""Noise for training: a rectangle erased, and noise added to every value.

None of these is a formula of the corruption benchmark, plain additive noise excepted.
"""

import math
from functools import cache
from statistics import NormalDist

import numpy as np

from ruggedize.images.draws import bits, image_key, integer, uniform
from ruggedize.images.kernel import kernel

NUM_QUANTILES = 4096  # 12 bits a value: the noise reaches 3.7 standard deviations
LOW_BITS = np.uint64(NUM_QUANTILES - 1)
VALUES_PER_HASH = 5
SHIFT = np.uint64(12)
GREY = 128
NUM_TRIES = 10  # rectangles drawn until one fits, as torchvision does
DRAWS_PER_TRY = 4
FIRST_FILL = 1 + NUM_TRIES * DRAWS_PER_TRY  # the counter of the first value of the filling
FIRST_NOISE = 2  # the draws before it: whether there is noise, and how much


@cache
def quantiles(distribution: str) -> np.ndarray:
    """Give equally likely values of unit variance and mean 0: float32 `[NUM_QUANTILES]`."""
    chances = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    if distribution == "gaussian":
        chances = np.array([NormalDist().inv_cdf(chance) for chance in chances])
    values = chances - chances.mean()
    return (values / values.std()).astype(np.float32)


@kernel
def add_noise(images, out, index, stream, probability, std, quantiles, start, stop):
    """Add noise to the images start..stop, each with its own standard deviation in 0..std.

    Images are `[n, values]`; `std` is in levels (0..255); five values come from one hash.
    """
    size = images.shape[1]
    for i in range(start, stop):
        key = image_key(stream, index[i])
        own = np.float32(uniform(key, 1) * std if uniform(key, 0) < probability else 0.0)
        for first in range(0, size, VALUES_PER_HASH):
            word = bits(key, FIRST_NOISE + first // VALUES_PER_HASH)
            for j in range(first, min(first + VALUES_PER_HASH, size)):
                value = np.float32(images[i, j]) + own * quantiles[int(word & LOW_BITS)]
                word >>= SHIFT
                value = min(max(value, np.float32(0)), np.float32(255))
                out[i, j] = np.uint8(np.int32(value + np.float32(0.5)))


@kernel
def erase(images, index, stream, probability, area, aspect, random_fill, start, stop):
    """Overwrite a rectangle of some of the images start..stop, in place.

    Source: Zhong et al. 2020, "Random Erasing Data Augmentation", algorithm 1.
    Deviation: the logarithm of the aspect ratio is uniform, so that tall and wide are equally
    likely, and an image in which none of ten rectangles fits is left as it is (both as
    torchvision has it).
    """
    height, width = images.shape[2:]
    for i in range(start, stop):
        key = image_key(stream, index[i])
        if uniform(key, 0) >= probability:
            continue
        top, left, rows, columns = rectangle(key, height, width, area, aspect)
        for c in range(images.shape[1]):
            for y in range(top, top + rows):
                for x in range(left, left + columns):
                    draw = FIRST_FILL + (c * height + y) * width + x
                    images[i, c, y, x] = integer(key, draw, 256) if random_fill else GREY


@kernel
def rectangle(key, height, width, area, aspect):
    """Draw a rectangle that fits: top, left, rows, columns; empty if none of the tries does."""
    for attempt in range(NUM_TRIES):
        first = 1 + attempt * DRAWS_PER_TRY
        size = height * width * (area[0] + (area[1] - area[0]) * uniform(key, first))
        low, high = math.log(aspect[0]), math.log(aspect[1])
        ratio = math.exp(low + (high - low) * uniform(key, first + 1))
        rows, columns = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
        if rows <= height and columns <= width:
            top = integer(key, first + 2, height - rows + 1)
            left = integer(key, first + 3, width - columns + 1)
            return top, left, rows, columns
    return 0, 0, 0, 0
