"""Gaussian smoothing of random fields by matrix products, whose cost is bounded for any sigma."""

from functools import lru_cache

import numpy as np
from scipy import ndimage

from ruggedize.kernels.kernel import kernel

Matrix = tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=32)  # dense: 4 MB for 1,000 pixels
def smoothing_matrix(size: int, sigma: float) -> Matrix:
    """Return the matrix that smooths a line, float32 `[size, size]`, and its non-zero ranges.

    The ranges, int64 `[size, 2]`, are the start and stop of the non-zero entries in each row.
    Source: scikit-image's `gaussian`: edges reflected, truncated at 3 standard deviations.
    """
    weights = ndimage.gaussian_filter(np.eye(size), (0, sigma), mode="reflect", truncate=3.0)
    used = weights > 0
    stops = size - used[:, ::-1].argmax(axis=1)
    return weights.astype(np.float32), np.stack([used.argmax(axis=1), stops], axis=1)


@kernel
def smooth_both_ways(field, down, across, halfway, out):
    """Smooth a field, float32 `[h, w]`; `halfway`, float32 `[w + 1, h]`, is work memory."""
    width = field.shape[1]
    smooth_and_transpose(field, down, halfway[:width], out[0])
    smooth_and_transpose(halfway[:width], across, out, halfway[width])


@kernel
def smooth_and_transpose(field, matrix, out, line):
    """Smooth vertically and transpose; `line`, one row, is work memory."""
    weights, ranges = matrix
    for y in range(len(field)):
        line[:] = np.float32(0)
        start, stop = ranges[y]
        stop_of_fours = stop - (stop - start) % 4
        for k in range(start, stop_of_fours, 4):
            add_four(weights[y, k : k + 4], field[k : k + 4], line)
        for k in range(stop_of_fours, stop):
            for x in range(len(line)):
                line[x] += weights[y, k] * field[k, x]
        for x in range(len(line)):
            out[x, y] = line[x]


@kernel
def add_four(weights, rows, line):
    """Add four weighted rows to a line; adding four at a time reduces memory traffic."""
    first, second, third, fourth = rows[0], rows[1], rows[2], rows[3]
    for x in range(len(line)):
        line[x] += (
            weights[0] * first[x]
            + weights[1] * second[x]
            + weights[2] * third[x]
            + weights[3] * fourth[x]
        )
