"""Smoothing of random fields, with a Gaussian of any width: by matrices, none wider than a line."""

from functools import cache

import numpy as np
from scipy import ndimage

from ruggedize.kernels.kernel import kernel

Matrix = tuple[np.ndarray, np.ndarray]


@cache
def smoothing_matrix(size: int, sigma: float) -> Matrix:
    """Return the weights of a line's values in each smoothed value: float32 `[size, size]`.

    And the part of each row that is not zero: int64 `[size, 2]`, its start and its stop.
    Source: scikit-image's `gaussian`, edges reflected, cut at 3 standard deviations.
    """
    weights = ndimage.gaussian_filter(np.eye(size), (0, sigma), mode="reflect", truncate=3.0)
    used = weights > 0
    stops = size - used[:, ::-1].argmax(axis=1)
    return weights.astype(np.float32), np.stack([used.argmax(axis=1), stops], axis=1)


@kernel
def smooth_both_ways(field, down, across, halfway, out):
    """Smooth a field, float32 `[h, w]`; `halfway`, float32 `[w + 1, h]`, is memory to work in."""
    width = field.shape[1]
    smooth_and_turn(field, down, halfway[:width], out[0])
    smooth_and_turn(halfway[:width], across, out, halfway[width])


@kernel
def smooth_and_turn(field, matrix, out, line):
    """Smooth down the columns and exchange rows and columns; `line` is one row to work in."""
    weights, parts = matrix
    for y in range(len(field)):
        line[:] = np.float32(0)
        start, stop = parts[y]
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
    """Add four weighted rows to a line: four at a time spare reading and writing it."""
    first, second, third, fourth = rows[0], rows[1], rows[2], rows[3]
    for x in range(len(line)):
        line[x] += (
            weights[0] * first[x]
            + weights[1] * second[x]
            + weights[2] * third[x]
            + weights[3] * fourth[x]
        )
