"""Defocus blur with a disk-shaped kernel."""

import numpy as np
from scipy import ndimage

from ruggedize.kernels.borders import mirrored
from ruggedize.kernels.kernel import kernel

SMALL_RADIUS = 8  # smaller disks are placed on a grid of this radius
SMALL_SOFTNESS = 0.6  # the largest in the CIFAR-10-C script, whose Gaussian has a fixed size
NEGLIGIBLE = 1e-9


def disk(radius: float, softness: float) -> np.ndarray:
    """Return a disk-shaped filter with sum 1, smoothed by a Gaussian: float64 `[side, side]`.

    `radius` and `softness`, the Gaussian's standard deviation, are in pixels.
    Source: the CIFAR-10-C script, with OpenCV's `GaussianBlur` of 3 x 3 or, for larger disks,
    5 x 5 pixels. Large disks touch the edge of their grid, where the Gaussian is mirrored.
    Deviation: a Gaussian wider than any in the script is truncated at 4 standard deviations.
    """
    reach, soft_reach = (SMALL_RADIUS, 1) if radius <= SMALL_RADIUS else (int(radius), 2)
    if softness > SMALL_SOFTNESS:
        soft_reach = int(4 * softness + 0.5)
        reach = max(reach, int(radius) + soft_reach)
    offsets = np.arange(-reach, reach + 1)
    hard = (offsets**2 + offsets[:, None] ** 2 <= radius**2).astype(float)
    gaussian = np.exp(-0.5 * (np.arange(-soft_reach, soft_reach + 1) / softness) ** 2)
    gaussian /= gaussian.sum()
    soft = ndimage.correlate1d(hard / hard.sum(), gaussian, axis=0, mode="mirror")
    return ndimage.correlate1d(soft, gaussian, axis=1, mode="mirror")


def centred_boxes(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decompose a symmetric filter into weighted one-row boxes, centred horizontally.

    Returns the row offset from the middle and the half width of each box, int64 `[boxes, 2]`, and
    the weights, float32 `[boxes]`. Each box also represents its mirror image in the upper half.
    """
    middle = len(weights) // 2
    quarter = weights[middle:, middle:]
    steps = quarter - np.pad(quarter[:, 1:], ((0, 0), (0, 1)))
    places = np.argwhere(np.abs(steps) > NEGLIGIBLE)
    return places, steps[tuple(places.T)].astype(np.float32)


@kernel
def filter_by_boxes(plane, places, weights, sums, pair, out):
    """Filter a plane with the boxes of `centred_boxes`, mirroring edges; `out` is float32 `[h, w]`.

    `sums`, float32 `[h, w + 2 * reach + 1]`, and `pair`, shaped like one of its rows, are work
    memory; `reach` is the half width of the widest box.
    """
    height, width = plane.shape
    reach = (len(pair) - 1 - width) // 2
    add_up_rows(plane, reach, sums)
    for y in range(height):
        line = out[y]
        line[:] = np.float32(0)
        last = -1
        for k in range(len(weights)):
            down, half = places[k]
            if down != last:
                above, below = sums[mirrored(y - down, height)], sums[mirrored(y + down, height)]
                share = np.float32(1 if down else 0)
                for x in range(len(pair)):
                    pair[x] = below[x] + share * above[x]
                last = down
            ends, starts = pair[reach + half + 1 :], pair[reach - half :]
            for x in range(width):
                line[x] += weights[k] * (ends[x] - starts[x])


@kernel
def add_up_rows(plane, reach, sums):
    """Compute cumulative sums of each row, extended by `reach` mirrored pixels on each side."""
    height, width = plane.shape
    for y in range(height):
        total = 0
        for x in range(width + 2 * reach):
            sums[y, x] = total
            total += plane[y, mirrored(x - reach, width)]
        sums[y, width + 2 * reach] = total
