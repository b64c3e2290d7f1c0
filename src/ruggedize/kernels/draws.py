"""Stateless random numbers: each one is a 64-bit hash of a key and a counter."""

from functools import cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64

from ruggedize.kernels.kernel import kernel

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TO_UNIT = 1.0 / 9007199254740992.0  # 2^-53


@cache
def normal_quantiles(number: int) -> Float64[np.ndarray, " number"]:
    """Return `number` equally likely quantiles of the standard normal distribution, ascending."""
    chances = (np.arange(number) + 0.5) / number
    return np.array([NormalDist().inv_cdf(chance) for chance in chances])


@kernel
def mix64(value):
    """Hash 64 bits so that every input bit affects every output bit.

    Source: Steele, Lea & Flood 2014, SplitMix64's finaliser (Stafford's variant 13).
    """
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def image_key(stream, index):
    """Return the key of one image within a stream (`seeding.stream_key`)."""
    return mix64(stream ^ mix64(np.uint64(index) * GOLDEN + GOLDEN))


@kernel
def bits(key, counter):
    """Return 64 random bits for a key and a counter."""
    return mix64(key + (np.uint64(counter) + np.uint64(1)) * GOLDEN)


@kernel
def uniform(key, counter):
    """Return a uniform number in [0, 1)."""
    return np.float64(bits(key, counter) >> np.uint64(11)) * TO_UNIT


@kernel
def integer(key, counter, n):
    """Return a uniform integer in 0..n-1, with negligible bias for n below 2^20."""
    return int(uniform(key, counter) * n)


@kernel
def uniforms(stream, index, counter):
    """Return one uniform number in [0, 1) for each image: float64 `[n]`."""
    numbers = np.empty(index.size, np.float64)
    for i in range(index.size):
        numbers[i] = uniform(image_key(stream, index[i]), counter)
    return numbers
