"""The blur of a lens out of focus: every point becomes a disk."""

import numpy as np
from scipy import ndimage

from ruggedize.kernels.borders import mirrored
from ruggedize.kernels.kernel import kernel

SMALL_RADIUS = 8  # up to here the disk lies on a grid that reaches this far
NEGLIGIBLE = 1e-9


def disk(radius: float, softness: float) -> np.ndarray:
    """Draw a disk with soft edges, of sum 1; `softness` is its Gaussian's standard deviation.

    Source: the CIFAR-10-C script, with OpenCV's `GaussianBlur` of 3 x 3 or, for the larger disks,
    5 x 5 pixels. These are cut off at the grid's edge, where the Gaussian meets its mirror image.
    """
    reach, soft_reach = (SMALL_RADIUS, 1) if radius <= SMALL_RADIUS else (int(radius), 2)
    offsets = np.arange(-reach, reach + 1)
    hard = (offsets**2 + offsets[:, None] ** 2 <= radius**2).astype(float)
    gaussian = np.exp(-0.5 * (np.arange(-soft_reach, soft_reach + 1) / softness) ** 2)
    gaussian /= gaussian.sum()
    soft = ndimage.correlate1d(hard / hard.sum(), gaussian, axis=0, mode="mirror")
    return ndimage.correlate1d(soft, gaussian, axis=1, mode="mirror")


def centred_boxes(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write a filter that is symmetric both ways as a sum of boxes, centred in each row.

    Returns for each box (rows from the middle, pixels from its middle to its end), int64
    `[boxes, 2]`, and its weight, float32 `[boxes]`; a row stands for its mirror image too.
    """
    middle = len(weights) // 2
    quarter = weights[middle:, middle:]
    steps = quarter - np.pad(quarter[:, 1:], ((0, 0), (0, 1)))
    places = np.argwhere(np.abs(steps) > NEGLIGIBLE)
    return places, steps[tuple(places.T)].astype(np.float32)


@kernel
def filter_by_boxes(plane, places, weights, sums, pair, out):
    """Filter a plane by `centred_boxes`, edges mirrored; `out` is float32 `[h, w]`.

    `sums`, float32 `[h, w + 2 * reach + 1]`, and `pair`, one of its rows, are memory to work in;
    the reach is that of the widest box.
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
    """Write how much lies before each place of a row, continued by `reach` pixels either way."""
    height, width = plane.shape
    for y in range(height):
        total = 0
        for x in range(width + 2 * reach):
            sums[y, x] = total
            total += plane[y, mirrored(x - reach, width)]
        sums[y, width + 2 * reach] = total
