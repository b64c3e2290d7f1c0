"""Bilinear and bicubic sampling of one image, as in PIL: uint8 `[3, h, w]` in and out.

Pixels whose source position lies outside the image get the fill value; taps beyond the edge repeat
the edge pixels. Bilinear interpolation also uses four taps; its outer two are zero.
"""

import math

import numpy as np

from ruggedize.kernels.affine import inside
from ruggedize.kernels.color import fill_all
from ruggedize.kernels.kernel import kernel

MARGIN = 2  # reach of four taps beyond the source, in pixels
GUARD = np.float32(1e-3)  # so that 99.9999 is not truncated to 99
FRACTION_BITS = 32
ONE = 1 << FRACTION_BITS
FIRST_TAP = (MARGIN - 1) * ONE - ONE // 2  # offset from a position to the first of its four taps


@kernel
def taps(distance, cubic):
    """Return the weights of the four pixels around a position, `distance` (0..1) past the second.

    Source: PIL, `Geometry.c`, `BICUBIC`: Keys 1981 with a = -1.
    """
    one = np.float32(1)
    if not cubic:
        return np.float32(0), one - distance, distance, np.float32(0)
    square = distance * distance
    cube = square * distance
    two = np.float32(2)
    return (
        two * square - distance - cube,
        one - two * square + cube,
        distance + square - cube,
        cube - square,
    )


@kernel
def clipped(value):
    """Clip to 0..255 and truncate to uint8, as PIL does."""
    value += GUARD
    value = value if value > np.float32(0) else np.float32(0)
    return np.uint8(value if value < np.float32(255) else np.float32(255))


@kernel
def slide_rows(source, out, offset, slope, cubic, fill, line):
    """Shift each row y to the left by `offset + slope * (y + 0.5)` pixels.

    `line` (float32, at least width + 4) is work memory.
    """
    fill_all(out, fill)
    for y in range(source.shape[1]):
        shift = offset + slope * (y + 0.5)
        for channel in range(3):
            slide_row(source[channel, y], out[channel, y], shift, cubic, line)


@kernel
def slide_row(source, out, shift, cubic, line):
    """Shift one row to the left by `shift` pixels."""
    width = source.size
    first = min(width, max(0, math.ceil(-shift - 0.5)))
    stop = max(first, min(width, math.ceil(width - shift - 0.5)))
    whole = math.floor(shift)
    before, lower, upper, after = taps(np.float32(shift - whole), cubic)
    if first == stop:
        return
    repeat_edges(source, line)
    moved = line[first + whole + MARGIN - 1 :]
    target = out[first:stop]
    if not cubic:  # the outer taps are zero
        for x in range(target.size):
            target[x] = clipped(lower * moved[x + 1] + upper * moved[x + 2])
        return
    for x in range(target.size):
        target[x] = clipped(
            before * moved[x] + lower * moved[x + 1] + upper * moved[x + 2] + after * moved[x + 3]
        )


@kernel
def repeat_edges(row, line):
    """Copy a row to `line`, adding a margin of repeated edge pixels."""
    for x in range(row.size):
        line[MARGIN + x] = row[x]
    for x in range(MARGIN):
        line[x] = row[0]
        line[MARGIN + row.size + x] = row[row.size - 1]


@kernel
def slide_columns(source, out, offset, slope, cubic, fill, line, turned):
    """Shift each column x upwards by `offset + slope * (x + 0.5)` pixels.

    `turned` (uint8 `[2, 3, w, h]`) is work memory for the transposed image.
    """
    transpose(source, turned[0])
    slide_rows(turned[0], turned[1], offset, slope, cubic, fill, line)
    transpose(turned[1], out)


@kernel
def transpose(source, out):
    """Transpose every channel."""
    for channel in range(3):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                out[channel, y, x] = source[channel, x, y]


@kernel
def sample_interpolated(source, out, matrix, cubic, fill, padded):
    """Transform an image with bilinear or bicubic interpolation.

    `padded` (float32 `[3, h + 4, w + 4]`) is work memory for the image with repeated edges.
    """
    a, b, c, d, e, f = matrix
    height = source.shape[1]
    for channel in range(3):
        for y in range(height + 2 * MARGIN):
            row = min(height - 1, max(0, y - MARGIN))
            repeat_edges(source[channel, row], padded[channel, y])
    fill_all(out, fill)
    step_x, step_y = int(a * ONE), int(d * ONE)
    for y in range(height):
        x_in = int((c + a * 0.5 + b * (y + 0.5)) * ONE)
        y_in = int((f + d * 0.5 + e * (y + 0.5)) * ONE)
        interpolate_run(padded, out, y, (x_in, y_in, step_x, step_y), cubic)


@kernel
def interpolate_run(padded, out, y, line, cubic):
    """Interpolate the pixels of a target row whose source positions lie inside the image."""
    height, width = out.shape[1:]
    x_in, y_in, step_x, step_y = line
    left, right = inside(x_in, step_x, width << FRACTION_BITS, width)
    top, bottom = inside(y_in, step_y, height << FRACTION_BITS, width)
    values = padded.ravel()
    for x in range(max(left, top), min(right, bottom)):
        x_at = x_in + x * step_x + FIRST_TAP
        y_at = y_in + x * step_y + FIRST_TAP
        across = taps(np.float32(x_at & (ONE - 1)) * np.float32(1.0 / ONE), cubic)
        down = taps(np.float32(y_at & (ONE - 1)) * np.float32(1.0 / ONE), cubic)
        at = (y_at >> FRACTION_BITS) * padded.shape[2] + (x_at >> FRACTION_BITS)
        for channel in range(3):
            first = np.uint64(at + channel * padded[0].size)
            stride = np.uint64(padded.shape[2])
            if cubic:
                total = weighted(values, first, stride, across, down)
            else:
                total = weighted_bilinearly(values, first, stride, across, down)
            out[channel, y, x] = clipped(total)


@kernel
def weighted(values, first, stride, across, down):
    """Return the sum of 4 x 4 pixels, weighted horizontally and vertically."""
    total = np.float32(0)
    for weight in down:
        total += weight * (
            across[0] * values[first]
            + across[1] * values[first + np.uint64(1)]
            + across[2] * values[first + np.uint64(2)]
            + across[3] * values[first + np.uint64(3)]
        )
        first += stride
    return total


@kernel
def weighted_bilinearly(values, first, stride, across, down):
    """Return what `weighted` does where the outer weights are zero."""
    upper = first + stride + np.uint64(1)
    lower = upper + stride
    above = across[1] * values[upper] + across[2] * values[upper + np.uint64(1)]
    below = across[1] * values[lower] + across[2] * values[lower + np.uint64(1)]
    return down[1] * above + down[2] * below
