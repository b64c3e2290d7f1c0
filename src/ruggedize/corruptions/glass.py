"""Glass blur: a Gaussian blur, a random displacement of pixels, and a second Gaussian blur."""

import numpy as np

from ruggedize.kernels.draws import bits, image_key
from ruggedize.kernels.filters import filter_both_ways, gaussian_weights
from ruggedize.kernels.kernel import kernel

DRAWS_PER_HASH = 4
DRAW_BITS = np.uint64(16)
LOW_16 = np.uint64(0xFFFF)
ROUNDING = 1e-8
"""Treats 99.999999999 as 100 in float64.

The other corruptions use a guard of 0.001. Here it would raise many values by one, in both blurs:
at sigma 0.25, a neighbour weighs only 0.0003, so values are often that close below an integer.
"""


def with_glass(
    level: tuple[float, float, float], height: int, width: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Prepare the glass blur; `level` is (sigma, largest offset, rounds), in pixels and a count."""
    sigma, largest_offset, num_rounds = level
    return gaussian_weights(sigma), (int(largest_offset), int(num_rounds))


@kernel
def strew(image, offsets, largest_offset):
    """Overwrite each pixel with a neighbour, starting at the lower right, in place.

    `offsets`, `[rounds, rows, columns, 2]`, is (right, down) to the neighbour, for the rows and
    columns that `num_strewn` counts.
    Source: the CIFAR-10-C script, including its bug: it is meant to swap the two pixels, but it
    assigns through views of the array, so that the neighbour does not change.
    """
    channels, height, width = image.shape
    for k in range(offsets.shape[0]):
        for i in range(offsets.shape[1]):
            y = height - largest_offset - i
            for j in range(offsets.shape[2]):
                x = width - largest_offset - j
                from_y, from_x = y + offsets[k, i, j, 1], x + offsets[k, i, j, 0]
                for c in range(channels):
                    image[c, y, x] = image[c, from_y, from_x]


@kernel
def num_strewn(size, largest_offset):
    """Return the number of rows (or columns) whose neighbours are all inside the image."""
    return max(0, size - 2 * largest_offset)


@kernel
def draw_offsets(key, largest_offset, out):
    """Fill a vector with random integers in -largest_offset..largest_offset-1."""
    span = np.uint64(2 * largest_offset)
    for first in range(0, len(out), DRAWS_PER_HASH):
        word = bits(key, first // DRAWS_PER_HASH)
        for i in range(first, min(first + DRAWS_PER_HASH, len(out))):
            out[i] = np.int64(((word & LOW_16) * span) >> DRAW_BITS) - largest_offset
            word >>= DRAW_BITS


@kernel
def glass_blur(image, out, taps, offsets, largest_offset, memory):
    """Blur, displace pixels by `offsets` and blur again.

    `memory` is work memory for `filter_both_ways`, in float64 as in the official script.
    """
    for c in range(len(image)):
        blur_and_truncate(image[c], out[c], taps, memory)
    strew(out, offsets, largest_offset)
    for c in range(len(image)):
        blur_and_truncate(out[c], out[c], taps, memory)


@kernel
def blur_and_truncate(plane, out, taps, memory):
    """Blur a plane of values 0..255 and drop the fractions; `out` may be the plane itself."""
    line, blurred = memory
    filter_both_ways(plane, taps, line, blurred)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = np.uint8(np.int32(min(blurred[y, x] + ROUNDING, 255.0)))


@kernel
def glass_blur_block(images, out, taps, strewing, stream, indices):
    """Apply the glass blur to the images with these `indices`.

    `strewing` is (largest offset, rounds).
    """
    largest_offset, num_rounds = strewing
    _, _, height, width = images.shape
    memory = np.empty(width + len(taps) - 1), np.empty((height, width))
    rows, columns = num_strewn(height, largest_offset), num_strewn(width, largest_offset)
    offsets = np.empty((num_rounds, rows, columns, 2), np.int8)
    for i in range(len(images)):
        draw_offsets(image_key(stream, indices[i]), largest_offset, offsets.ravel())
        glass_blur(images[i], out[i], taps, offsets, largest_offset, memory)
