"""Smoothing of random fields, with a Gaussian of any width: by matrices, none wider than a line."""

from functools import cache

import numpy as np
from scipy import ndimage

from evenkeel.images.kernel import kernel

Matrix = tuple[np.ndarray, np.ndarray]


@cache
def smoothing_matrix(size: int, sigma: float) -> Matrix:
    """Give what each value of a line adds to each smoothed one: float32 `[old, smoothed]`.

    And which part of each row is not zero: int64 `[old, 2]`, its start and its stop.
    Source: scikit-image's `gaussian`, edges reflected, cut at 3 standard deviations.
    """
    smoothed = ndimage.gaussian_filter(np.eye(size), (0, sigma), mode="reflect", truncate=3.0)
    matrix = smoothed.astype(np.float32)
    used = matrix > 0
    stops = size - used[:, ::-1].argmax(axis=1)
    return matrix, np.stack([used.argmax(axis=1), stops], axis=1)


@kernel
def smooth_both_ways(field, down, across, halfway, out):
    """Smooth a field, float32 `[h, w]`; `halfway` of the same size is memory to work in."""
    matrix, parts = down
    halfway[:] = np.float32(0)
    for old in range(len(matrix)):
        for y in range(parts[old, 0], parts[old, 1]):
            weight = matrix[old, y]
            for x in range(field.shape[1]):
                halfway[y, x] += weight * field[old, x]
    matrix, parts = across
    out[:] = np.float32(0)
    for y in range(len(field)):
        for old in range(len(matrix)):
            start, stop = parts[old]
            value = halfway[y, old]
            for x in range(start, stop):
                out[y, x] += value * matrix[old, x]
