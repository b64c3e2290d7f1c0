"""The blur of a camera that moves towards its subject: the mean of an image and its zooms."""

import math
from functools import cache

import numpy as np
from scipy import ndimage

from evenkeel.images.kernel import kernel
from evenkeel.images.truncation import truncated

LANES = 48  # planes worked on side by side: the same pixel of each, then the next pixel

Taps = tuple[np.ndarray, np.ndarray]


def with_zooms(level: tuple[float, float], height: int, width: int) -> tuple[Taps, Taps]:
    """Prepare the zoom blur; `level` is (end of the zooms, step), the first zoom is 1."""
    return zoom_taps(*level, height), zoom_taps(*level, width)


@cache
def zoom_taps(end: float, step: float, size: int) -> Taps:
    """Give for each zoom and each pixel of a line which two pixels it mixes.

    The first of the two, int64 `[zooms, size]`, and both weights, float32 `[zooms, size, 2]`.
    """
    zooms = np.arange(1.0, end, step)
    matrices = np.stack([zoom_matrix(size, zoom) for zoom in zooms])
    firsts = np.minimum((matrices > 0).argmax(axis=2), max(0, size - 2))
    matrices = np.pad(matrices, ((0, 0), (0, 0), (0, 1)))
    both = np.stack([firsts, firsts + 1], axis=2)
    return firsts, np.take_along_axis(matrices, both, axis=2).astype(np.float32)


def zoom_matrix(size: int, zoom: float) -> np.ndarray:
    """Say what each pixel of a line adds to each pixel of the zoomed line: `[new, old]`.

    Source: the CIFAR-10-C script: the middle is cut out, zoomed by SciPy's `zoom` of order 1, and
    the middle of that is cut out again.
    """
    cut = math.ceil(size / zoom)
    start = (size - cut) // 2
    zoomed = np.asarray(ndimage.zoom(np.eye(cut), (zoom, 1), order=1))
    trim = (len(zoomed) - size) // 2
    return np.pad(zoomed[trim : trim + size], ((0, 0), (start, size - cut - start)))


@kernel
def zoom_blur_block(images, out, down, across):
    """Average images with their zooms; the taps are those of `zoom_taps`."""
    _, channels, height, width = images.shape
    num_planes = len(images) * channels
    planes = images.reshape((num_planes, height, width))
    targets = out.reshape((num_planes, height, width))
    stack = np.zeros((height, width, LANES), np.float32)
    mixed = np.empty((width + 1, LANES), np.float32)
    total = np.empty((width, LANES), np.float32)
    for first in range(0, num_planes, LANES):
        stop = min(first + LANES, num_planes)
        for lane in range(stop - first):
            stack[:, :, lane] = planes[first + lane]
        for y in range(height):
            add_zooms(stack, y, down, across, mixed, total)
            share = np.float32(1.0 / (len(down[0]) + 1))
            for lane in range(stop - first):
                for x in range(width):
                    targets[first + lane, y, x] = truncated(total[x, lane] * share)


@kernel
def add_zooms(stack, y, down, across, mixed, total):
    """Sum up row y of a stack of planes and of its zooms; `mixed` is memory to work in."""
    height, width, _ = stack.shape
    total[:] = stack[y]
    mixed[width] = np.float32(0)
    values = mixed[:width].ravel()
    for k in range(len(down[0])):
        row = down[0][k, y]
        upper, lower = stack[row].ravel(), stack[min(row + 1, height - 1)].ravel()
        above, below = down[1][k, y]
        for j in range(len(values)):
            values[j] = above * upper[j] + below * lower[j]
        for x in range(width):
            left = across[0][k, x]
            before, after = across[1][k, x]
            for lane in range(LANES):
                total[x, lane] += before * mixed[left, lane] + after * mixed[left + 1, lane]
