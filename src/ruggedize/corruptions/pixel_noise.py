"""The four noise corruptions, which change every value of an image independently.

Each is a pure function of the image and of random values. These come from the key of the image or,
in tests, from the generator that the official script uses.
"""

import math
from functools import cache

import numpy as np

from ruggedize.kernels.draws import bits, image_key, normal_quantiles, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.truncation import truncated

QUANTILE_BITS = np.uint64(16)
NUM_QUANTILES = 1 << 16  # equally likely normal values, up to 4.3 standard deviations
VALUES_PER_HASH = 4
LOW_16 = np.uint64(0xFFFF)
LOW_32 = np.uint64(0xFFFFFFFF)
HALF_WORD = np.uint64(32)
DEVIATIONS = 8.0  # range of the Poisson counts in the tables, in standard deviations

Tables = tuple[np.ndarray, np.ndarray, np.ndarray]


@cache
def normal_table() -> np.ndarray:
    """Return the quantile table for normal random values: float32 `[65536]`."""
    return normal_quantiles(NUM_QUANTILES).astype(np.float32)


@kernel
def draw_normals(key, quantiles, out):
    """Fill a vector with standard normal values."""
    for first in range(0, len(out), VALUES_PER_HASH):
        word = bits(key, first // VALUES_PER_HASH)
        for i in range(first, min(first + VALUES_PER_HASH, len(out))):
            out[i] = quantiles[word & LOW_16]
            word >>= QUANTILE_BITS


def with_normals(std: float, height: int, width: int) -> tuple[float, np.ndarray]:
    """Prepare a noise corruption that draws normal random values."""
    return float(std), normal_table()


@kernel
def gaussian_noise(source, out, normals, std):
    """Add normal noise; `std` is a fraction of 255."""
    values, targets = source.ravel(), out.ravel()
    for i in range(len(values)):
        targets[i] = truncated(values[i] + 255.0 * std * normals[i])


@kernel
def gaussian_noise_block(images, out, std, quantiles, stream, indices):
    """Add normal noise to the images with these `indices`."""
    normals = np.empty(images.shape[1] * images.shape[2] * images.shape[3], np.float32)
    for i in range(len(images)):
        draw_normals(image_key(stream, indices[i]), quantiles, normals)
        gaussian_noise(images[i], out[i], normals, std)


@kernel
def speckle_noise(source, out, normals, std):
    """Scale every value by one plus normal noise."""
    values, targets = source.ravel(), out.ravel()
    for i in range(len(values)):
        targets[i] = truncated(values[i] * (1.0 + std * normals[i]))


@kernel
def speckle_noise_block(images, out, std, quantiles, stream, indices):
    """Scale the images with these `indices` by one plus normal noise."""
    normals = np.empty(images.shape[1] * images.shape[2] * images.shape[3], np.float32)
    for i in range(len(images)):
        draw_normals(image_key(stream, indices[i]), quantiles, normals)
        speckle_noise(images[i], out[i], normals, std)


@kernel
def shot_noise(source, out, counts, photons):
    """Convert photon counts to pixel values; `photons` is the expected count for the value 255."""
    targets = out.ravel()
    for i in range(len(targets)):
        targets[i] = truncated(255.0 * counts[i] / photons)


@kernel
def shot_noise_block(images, out, photons, tables, stream, indices):
    """Add Poisson noise to the images with these `indices`."""
    counts = np.empty(images.shape[1] * images.shape[2] * images.shape[3], np.int32)
    for i in range(len(images)):
        draw_counts(image_key(stream, indices[i]), images[i].ravel(), tables, counts)
        shot_noise(images[i], out[i], counts, photons)


@kernel
def draw_counts(key, values, tables, out):
    """Draw a Poisson count for each value, using the tables of `poisson_tables`."""
    lowest, cuts, others = tables
    num_columns = np.uint64(cuts.shape[1])
    for i in range(len(values)):
        word = bits(key, i)
        value = values[i]
        column = ((word >> HALF_WORD) * num_columns) >> HALF_WORD
        keeps_column = (word & LOW_32) < np.uint64(cuts[value, column])
        count = np.int64(column) if keeps_column else np.int64(others[value, column])
        out[i] = lowest[value] + count


def with_counts(photons: float, height: int, width: int) -> tuple[float, Tables]:
    """Prepare the shot noise; `photons` is the expected count for the value 255."""
    return float(photons), poisson_tables(float(photons))


@cache
def poisson_tables(photons: float) -> Tables:
    """Return an alias table of Poisson counts for each pixel value.

    A uniformly drawn column c yields the count `lowest + c` with probability `cut / 2^32`, or else
    `lowest + other`. Shapes: lowest int64 `[256]`, cuts uint32 `[256, columns]` and others uint16
    `[256, columns]`.
    Source: Walker 1977, "An Efficient Method for Generating Discrete Random Variables".
    """
    rates = np.arange(256) * photons / 255.0
    num_columns = math.ceil(2 * DEVIATIONS * math.sqrt(photons) + 2 * DEVIATIONS)
    lowest = np.maximum(0, np.floor(rates - num_columns / 2)).astype(np.int64)
    shares = poisson_probabilities(rates, lowest[:, None] + np.arange(num_columns)) * num_columns
    cuts = np.full(shares.shape, np.uint32(LOW_32))
    others = np.tile(np.arange(num_columns, dtype=np.uint16), (256, 1))
    rows, is_open = np.arange(256), np.ones(shares.shape, bool)
    for _ in range(num_columns - 1):
        poor = np.argmin(np.where(is_open, shares, np.inf), axis=1)
        rich = np.argmax(np.where(is_open, shares, -np.inf), axis=1)
        share = np.clip(shares[rows, poor], 0.0, 1.0)
        cuts[rows, poor] = np.minimum(share * 2.0**32, 2.0**32 - 1).astype(np.uint32)
        others[rows, poor] = rich
        shares[rows, rich] -= 1.0 - share
        is_open[rows, poor] = False
    return lowest, cuts, others


def poisson_probabilities(rates: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the Poisson probabilities of the counts, normalised so that each row sums to 1."""
    log_factorials = np.array([math.lgamma(k + 1.0) for k in range(int(counts.max()) + 1)])
    positive = np.maximum(rates, 1e-300)[:, None]  # avoids log(0)
    probabilities = np.exp(counts * np.log(positive) - rates[:, None] - log_factorials[counts])
    return probabilities / probabilities.sum(axis=1, keepdims=True)


@kernel
def impulse_noise(source, out, uniforms, amount):
    """Set a fraction `amount` of the values to 255 or 0 with equal probability."""
    values, targets = source.ravel(), out.ravel()
    for i in range(len(values)):
        if uniforms[i] >= amount:
            targets[i] = values[i]
        else:
            targets[i] = 255 if uniforms[i] < 0.5 * amount else 0


@kernel
def impulse_noise_block(images, out, amount, stream, indices):
    """Add salt-and-pepper noise to the images with these `indices`."""
    uniforms = np.empty(images.shape[1] * images.shape[2] * images.shape[3])
    for i in range(len(images)):
        key = image_key(stream, indices[i])
        for j in range(len(uniforms)):
            uniforms[j] = uniform(key, j)
        impulse_noise(images[i], out[i], uniforms, amount)


def with_amount(amount: float, height: int, width: int) -> tuple[float]:
    """Prepare the impulse noise; `amount` is the fraction of changed values."""
    return (float(amount),)
