"""Affine warp of an image as in OpenCV, with positions rounded to 1/32 pixel."""

import numpy as np

from ruggedize.kernels.borders import mirrored
from ruggedize.kernels.kernel import kernel

FRACTION_BITS = 10  # fractional bits of positions while they are summed
KEPT_BITS = 5  # fractional bits of positions that the interpolation uses
HALF_KEPT = 1 << (FRACTION_BITS - KEPT_BITS - 1)
LAST_KEPT = (1 << KEPT_BITS) - 1
SINGULAR = 1e-9  # with a smaller determinant, positions would overflow integers


@kernel
def warp_affine(image, out, matrix):
    """Sample an image at `matrix` times each pixel's position, mirroring its edges.

    `matrix` is (a, b, c, d, e, f): x' = a x + b y + c, y' = d x + e y + f; `out` is float32
    `[3, h, w]`.
    Source: OpenCV's `warpAffine` with `BORDER_REFLECT_101` and an inverted matrix.
    """
    a, b, c, d, e, f = matrix
    _, height, width = image.shape
    for y in range(height):
        start_x, start_y = fixed_point(b * y + c), fixed_point(e * y + f)
        for x in range(width):
            at_x = (start_x + fixed_point(a * x) + HALF_KEPT) >> (FRACTION_BITS - KEPT_BITS)
            at_y = (start_y + fixed_point(d * x) + HALF_KEPT) >> (FRACTION_BITS - KEPT_BITS)
            left, top = at_x >> KEPT_BITS, at_y >> KEPT_BITS
            right, bottom = left + 1, top + 1
            if left < 0 or top < 0 or right >= width or bottom >= height:
                left, right = mirrored(left, width), mirrored(right, width)
                top, bottom = mirrored(top, height), mirrored(bottom, height)
            across = np.float32(at_x & LAST_KEPT) / np.float32(1 << KEPT_BITS)
            down = np.float32(at_y & LAST_KEPT) / np.float32(1 << KEPT_BITS)
            for channel in range(3):
                corners = left, right, top, bottom
                out[channel, y, x] = mix(image[channel], corners, across, down)


@kernel
def fixed_point(position):
    """Convert a position to fixed point, rounding to nearest."""
    return np.int64(np.rint(position * (1 << FRACTION_BITS)))


@kernel
def mix(plane, corners, across, down):
    """Interpolate bilinearly between the corners (left, right, top, bottom)."""
    left, right, top, bottom = corners
    one = np.float32(1)
    above = (one - across) * plane[top, left] + across * plane[top, right]
    below = (one - across) * plane[bottom, left] + across * plane[bottom, right]
    return (one - down) * above + down * below


@kernel
def inverse(matrix):
    """Return the inverse of an affine map; zero if it is (almost) singular."""
    a, b, c, d, e, f = matrix
    determinant = a * e - b * d
    scale = 1.0 / determinant if abs(determinant) > SINGULAR else 0.0
    a, b, d, e = e * scale, -b * scale, -d * scale, a * scale
    return a, b, -a * c - b * f, d, e, -d * c - e * f
