"""Affine transforms of one image, bit for bit as in PIL: uint8 `[3, h, w]` in and out.

A matrix `(a, b, c, d, e, f)` maps the centre (x, y) of a target pixel to its source position
`(a x + b y + c, d x + e y + f)`; the centre of the first pixel is (0.5, 0.5). Pixels whose source
position lies outside the image get the fill value. `out` must not overlap `source`.
"""

import math

import numpy as np

from ruggedize.kernels.borders import reflected
from ruggedize.kernels.color import fill_all
from ruggedize.kernels.kernel import kernel

MIRROR = -1  # fill value that extends the image by its mirror image: d c b a | a b c d
FRACTION_BITS = 16  # PIL's fixed point
ONE = 1 << FRACTION_BITS


@kernel
def rotation(angle_degrees, height, width):
    """Return the matrix of a rotation about the centre of the image."""
    cosine = math.cos(math.radians(angle_degrees))
    sine = -math.sin(math.radians(angle_degrees))
    x, y = width / 2.0, height / 2.0
    return (
        cosine,
        sine,
        x - cosine * x - sine * y,
        -sine,
        cosine,
        y + sine * x - cosine * y,
    )


@kernel
def fixed_point(value):
    """Convert to fixed point with 16 fractional bits, rounding to nearest."""
    return math.floor(value * ONE + 0.5)


@kernel
def inside(start, step, limit, n):
    """Return the range (first, stop) of x in 0..n-1 with 0 <= start + step * x < limit."""
    if step == 0:
        return (0, n) if 0 <= start < limit else (0, 0)
    if step < 0:
        start, step = limit - 1 - start, -step
    first = min(n, max(0, -(start // step)))
    return first, max(first, min(n, -((start - limit) // step)))


@kernel
def sample_nearest(source, out, matrix, fill):
    """Transform an image with nearest-neighbour sampling.

    Source: PIL, `Geometry.c`, `affine_fixed`.
    """
    a, b, c, d, e, f = matrix
    height, width = source.shape[1:]
    x_in, y_in = fixed_point(c + (a + b) * 0.5), fixed_point(f + (d + e) * 0.5)
    step_x, step_y = fixed_point(a), fixed_point(d)
    if fill != MIRROR:
        fill_all(out, fill)
    for y in range(height):
        left, right = inside(x_in, step_x, width << FRACTION_BITS, width)
        top, bottom = inside(y_in, step_y, height << FRACTION_BITS, width)
        first = max(left, top)
        stop = max(first, min(right, bottom))
        line = (x_in, y_in, step_x, step_y)
        if step_x == ONE and step_y == 0:
            copy_run(source, out, y, line, first, stop)
        else:
            sample_run(source.ravel(), out.ravel(), width, y * width, line, first, stop)
        if fill == MIRROR:
            fill_mirrored(source, out, y, line, first, stop)
        x_in += fixed_point(b)
        y_in += fixed_point(e)


@kernel
def copy_run(source, out, y, line, first, stop):
    """Copy pixels first..stop-1 of a target row from a row of the source."""
    x_in, y_in = line[0] >> FRACTION_BITS, line[1] >> FRACTION_BITS
    if first == stop:
        return
    for channel in range(3):
        values, targets = source[channel, y_in, x_in + first :], out[channel, y, first:stop]
        for x in range(targets.size):
            targets[x] = values[x]


@kernel
def sample_run(values, targets, width, row, line, first, stop):
    """Sample pixels first..stop-1 of a target row along a line in the source."""
    x_in, y_in, step_x, step_y = line
    plane = np.uint64(values.size // 3)
    for x in range(first, stop):
        i, j = (y_in + x * step_y) >> FRACTION_BITS, (x_in + x * step_x) >> FRACTION_BITS
        at, to = np.uint64(i * width + j), np.uint64(row + x)
        for channel in range(3):
            offset = np.uint64(channel) * plane
            targets[to + offset] = values[at + offset]


@kernel
def fill_mirrored(source, out, y, line, first, stop):
    """Fill a target row, except for pixels first..stop-1, from the mirrored source."""
    height, width = source.shape[1:]
    x_in, y_in, step_x, step_y = line
    for x in range(width):
        if first <= x < stop:
            continue
        i = reflected((y_in + x * step_y) >> FRACTION_BITS, height)
        j = reflected((x_in + x * step_x) >> FRACTION_BITS, width)
        for channel in range(3):
            out[channel, y, x] = source[channel, i, j]
