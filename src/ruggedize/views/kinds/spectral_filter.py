"""Spectral filter: the image is mixed with itself, filtered at random."""

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import image_key, integer, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.views.kinds.additive_noise import NUM_QUANTILES, quantiles
from ruggedize.views.noise_options import SpectralFilterOptions

APPLIED, SHARE, FIRST_WEIGHT = range(3)  # counters


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: SpectralFilterOptions,
) -> None:
    """Write the filtered images to `out`."""
    height, width = images.shape[2:]
    size, margin = options.size, options.size - 1
    settings, values = (options.probability, options.std), quantiles("gaussian")

    def block(start: int, stop: int) -> None:
        weights = np.empty((size, size), np.float32)
        padded = np.zeros((3, height + margin, width + margin), np.float32)
        row, rows = np.empty(width, np.float32), slice(start, stop)
        scratch = weights, padded, row
        filter_images(images[rows], out[rows], index[rows], stream, settings, values, scratch)

    run_blocks(block, len(images))


def overlaps(options: SpectralFilterOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that the noise overlaps.

    Positive weights of neighbours blur the image, and the sum of all weights scales its values.
    """
    return {"spectral_filter": ("defocus_blur", "gaussian_blur", "brightness", "contrast")}


@kernel
def filter_images(images, out, index, stream, settings, quantiles, scratch):
    """Mix each image with itself, filtered; the three channels have the same filter.

    Source: Modas et al. 2022, "PRIME", section 3: the filter is the identity plus Gaussian weights,
    and its result is clipped; mixed with the image as in their script, with one chain of depth 1.
    Deviation: the identity is at the filter's centre, not at its corner; the weights are quantiles
    in 4096 steps; the mixture is rounded to whole pixel values.
    """
    probability, std = settings
    weights, padded, row = scratch
    for i in range(len(images)):
        key = image_key(stream, index[i])
        is_applied = uniform(key, APPLIED) < probability
        share = np.float32(uniform(key, SHARE) if is_applied else 0.0)
        draw_weights(key, np.float32(std), quantiles, weights)
        fill_padded(images[i], padded, weights.shape[0] // 2)
        for channel in range(3):
            for y in range(images.shape[2]):
                filter_row(padded[channel, y : y + weights.shape[0]], weights, row)
                mix_row(images[i, channel, y], row, share, out[i, channel, y])


@kernel
def draw_weights(key, std, quantiles, weights):
    """Draw the weights of a filter: Gaussian, plus 1 at the centre."""
    values = weights.ravel()
    for j in range(values.size):
        values[j] = std * quantiles[integer(key, FIRST_WEIGHT + j, NUM_QUANTILES)]
    values[values.size // 2] += np.float32(1)


@kernel
def fill_padded(image, padded, margin):
    """Copy an image into the middle of an array whose margins are zero."""
    for channel in range(3):
        for y in range(image.shape[1]):
            target = padded[channel, y + margin]
            for x in range(image.shape[2]):
                target[x + margin] = np.float32(image[channel, y, x])


@kernel
def filter_row(rows, weights, out):
    """Compute one row of the filtered image from as many rows as the filter has."""
    for x in range(out.size):
        out[x] = np.float32(0)
    for j in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            weight, values = weights[j, k], rows[j, k : k + out.size]
            for x in range(out.size):
                out[x] += weight * values[x]


@kernel
def mix_row(values, filtered, share, out):
    """Mix a row of the image with the filtered one, clipped to 0..255."""
    kept, half = np.float32(1) - share, np.float32(0.5)
    for x in range(out.size):
        value = min(max(filtered[x], np.float32(0)), np.float32(255))
        out[x] = np.uint8(np.int32(kept * np.float32(values[x]) + share * value + half))
