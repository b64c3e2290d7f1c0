"""Zoom blur: the mean of an image and its zooms."""

import math
from functools import cache

import numpy as np
from scipy import ndimage

from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.truncation import truncated

LANES = 48  # number of planes processed together, interleaved by pixel

Taps = tuple[np.ndarray, np.ndarray]


def with_zooms(level: tuple[float, ...], height: int, width: int) -> tuple[Taps, Taps]:
    """Prepare the zoom blur; `level` is (end, step) of the zoom factors, which start at 1.

    An optional third value is the side, in pixels, of the units to which crops are rounded.
    """
    end, step, *coarse = level
    pixel = coarse[0] if coarse else 1.0
    return zoom_taps(end, step, height, pixel), zoom_taps(end, step, width, pixel)


@cache
def zoom_taps(end: float, step: float, size: int, pixel: float = 1.0) -> Taps:
    """Return the two adjacent source pixels, and their weights, for each pixel of a zoomed line.

    Returns the index of the first pixel, int64 `[zooms, size]`, and both weights, float32
    `[zooms, size, 2]`.
    """
    taps = [  # of one dense matrix at a time
        taps_of(zoom_matrix(size, z) if pixel == 1.0 else scaled_zoom_matrix(size, z, pixel))
        for z in np.arange(1.0, end, step)
    ]
    firsts, weights = zip(*taps, strict=True)
    return np.stack(firsts), np.stack(weights)


def taps_of(matrix: np.ndarray) -> Taps:
    """Return the first of two adjacent entries in each row of a matrix, and both entries."""
    firsts = np.minimum((matrix > 0).argmax(axis=1), max(0, len(matrix) - 2))
    both = np.stack([firsts, np.minimum(firsts + 1, len(matrix) - 1)], axis=1)
    weights = np.take_along_axis(matrix, both, axis=1)
    weights[firsts + 1 == len(matrix), 1] = 0  # of a line of one pixel
    return firsts, weights.astype(np.float32)


def zoom_matrix(size: int, zoom: float) -> np.ndarray:
    """Return the matrix that zooms a line: `[new, old]`.

    Source: the CIFAR-10-C script: crop the centre, zoom it with SciPy's `zoom` of order 1, and crop
    the centre again.
    """
    cut = math.ceil(size / zoom)
    start = (size - cut) // 2
    zoomed = np.asarray(ndimage.zoom(np.eye(cut), (zoom, 1), order=1))
    trim = (len(zoomed) - size) // 2
    return np.pad(zoomed[trim : trim + size], ((0, 0), (start, size - cut - start)))


def scaled_zoom_matrix(size: int, zoom: float, pixel: float) -> np.ndarray:
    """Return the `zoom_matrix` with crops rounded to multiples of `pixel`, as in a 32-pixel image.

    In small images, this rounding moves the zoomed image by up to half a pixel, which is a large
    part of the blur.
    """
    coarse = max(1, round(size / pixel))
    cut = math.ceil(coarse / zoom)
    zoomed = round(cut * zoom)
    start, trim = (coarse - cut) // 2, (zoomed - coarse) // 2
    centres = (np.arange(size) + 0.5) * coarse / size - 0.5
    places = start + (centres + trim) * (cut - 1) / max(1, zoomed - 1)
    places = np.clip((places + 0.5) * size / coarse - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size)))


@kernel
def zoom_blur_block(images, out, down, across):
    """Average images with their zooms; `down` and `across` are results of `zoom_taps`."""
    _, channels, height, width = images.shape
    stack = np.zeros((height, width * LANES), np.float32)
    mixed = np.zeros((width + 1) * LANES, np.float32)
    total = np.empty(width * LANES, np.float32)
    share = np.float32(1.0 / (len(down[0]) + 1))
    num_planes = len(images) * channels
    for first in range(0, num_planes, LANES):
        planes = range(first, min(first + LANES, num_planes))
        for plane in planes:
            lane, source = plane - first, images[plane // channels, plane % channels]
            for y in range(height):
                for x in range(width):
                    stack[y, x * LANES + lane] = source[y, x]
        for y in range(height):
            add_zooms(stack, y, down, across, mixed, total)
            for plane in planes:
                lane, target = plane - first, out[plane // channels, plane % channels, y]
                for x in range(width):
                    target[x] = truncated(total[x * LANES + lane] * share)


@kernel
def add_zooms(stack, y, down, across, mixed, total):
    """Add row y of a stack of planes and of its zooms to `total`.

    `mixed` is work memory: a row followed by one pixel of zeros.
    """
    size = len(total)
    for j in range(size):
        total[j] = stack[y, j]
    for k in range(len(down[0])):
        row = down[0][k, y]
        upper, lower = stack[row], stack[min(row + 1, len(stack) - 1)]
        above, below = down[1][k, y]
        for j in range(size):
            mixed[j] = above * upper[j] + below * lower[j]
        for x in range(size // LANES):
            left, right = mixed[across[0][k, x] * LANES :], mixed[(across[0][k, x] + 1) * LANES :]
            before, after = across[1][k, x]
            target = total[x * LANES :]
            for lane in range(LANES):
                target[lane] += before * left[lane] + after * right[lane]
