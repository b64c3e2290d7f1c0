"""Linear filters of one plane."""

import numpy as np

from ruggedize.kernels.kernel import kernel

FRACTION_BITS = 22  # of PIL's weights: 32 bits minus 8 for the value and 2 to spare
HALF = 1 << (FRACTION_BITS - 1)


def gaussian_weights(sigma: float, truncate: float = 4.0) -> np.ndarray:
    """Return the weights of a Gaussian filter, with sum 1: float64 `[2 * radius + 1]`.

    Source: SciPy's `gaussian_filter`: truncated at `truncate` standard deviations.
    """
    radius = int(truncate * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return weights / weights.sum()


def gaussian_taps(sigma: float, truncate: float = 4.0) -> np.ndarray:
    """Return `gaussian_weights` as float32."""
    return gaussian_weights(sigma, truncate).astype(np.float32)


@kernel
def filter_both_ways(source, taps, line, out):
    """Filter a plane with the same taps vertically, then horizontally, replicating edges.

    `out` is `[h, w]`; `line`, `[w + len(taps) - 1]`, is work memory. Both are float32 or float64.
    """
    height, width = source.shape
    radius = len(taps) // 2
    for y in range(height):
        line[:] = np.float32(0)
        for k in range(len(taps)):
            row = source[min(max(y + k - radius, 0), height - 1)]
            for x in range(width):
                line[radius + x] += taps[k] * np.float32(row[x])
        line[:radius] = line[radius]
        line[radius + width :] = line[radius + width - 1]
        target = out[y]
        target[:] = np.float32(0)
        for k in range(len(taps)):
            for x in range(width):
                target[x] += taps[k] * line[x + k]


@kernel
def filter_3x3(source, weights, padded, out):
    """Filter a plane with 3 x 3 weights and the edges of OpenCV's `BORDER_REFLECT_101`.

    `padded`, `[h + 2, w + 2]`, is work memory.
    """
    height, width = source.shape
    for y in range(height + 2):
        inner = 1 if y == 0 else (height - 2 if y == height + 1 else y - 1)
        line = source[min(max(inner, 0), height - 1)]
        for x in range(width):
            padded[y, x + 1] = line[x]
        padded[y, 0], padded[y, width + 1] = line[min(1, width - 1)], line[max(width - 2, 0)]
    for y in range(height):
        target = out[y]
        target[:] = 0
        for k in range(9):
            weight, line = weights[k // 3, k % 3], padded[y + k // 3]
            for x in range(width):
                target[x] += weight * line[x + k % 3]


def box_windows(size: int, new_size: int) -> np.ndarray:
    """Return first pixel, number of pixels and weight for each new pixel: int64 `[new_size, 3]`.

    The weight has `FRACTION_BITS` fractional bits.
    Source: PIL, `Resample.c`: the window is as wide as the scale, but at least one pixel wide. It
    contains the pixels whose centres lie inside it, not on its left border. Because rounding errors
    decide for centres on a border, the floating-point operations must stay in PIL's order.
    """
    scale = size / new_size
    stretch = max(1.0, scale)
    windows = []
    for new in range(new_size):
        centre = (new + 0.5) * scale
        first = max(0, int(centre - 0.5 * stretch + 0.5))
        stop = min(size, int(centre + 0.5 * stretch + 0.5))
        distances = [(x - centre + 0.5) * (1.0 / stretch) for x in range(first, stop)]
        inside = [first + i for i, off in enumerate(distances) if -0.5 < off <= 0.5]
        weight = int((1 << FRACTION_BITS) / len(inside) + 0.5)
        windows.append((inside[0], len(inside), weight))
    return np.array(windows)


@kernel
def resize_by_boxes(source, columns, rows, narrow, out):
    """Resize a plane by averaging boxes, first horizontally, then vertically.

    Source: PIL's `Image.resize(..., BOX)`, with integer arithmetic and rounding after each pass.
    `narrow`, uint8 `[source height, new width]`, is work memory.
    """
    for y in range(source.shape[0]):
        for x in range(len(columns)):
            first, count, weight = columns[x, 0], columns[x, 1], columns[x, 2]
            total = 0
            for k in range(first, first + count):
                total += source[y, k]
            narrow[y, x] = (total * weight + HALF) >> FRACTION_BITS
    for y in range(len(rows)):
        first, count, weight = rows[y, 0], rows[y, 1], rows[y, 2]
        for x in range(len(columns)):
            total = 0
            for k in range(first, first + count):
                total += narrow[k, x]
            out[y, x] = (total * weight + HALF) >> FRACTION_BITS
