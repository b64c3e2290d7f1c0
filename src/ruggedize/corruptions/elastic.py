"""The elastic transform: a random affine map, then a small displacement of every pixel."""

import math

import numpy as np

from ruggedize.kernels.borders import reflected
from ruggedize.kernels.draws import bits, image_key, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.opencv_warp import inverse, mix, warp_affine
from ruggedize.kernels.smoothing import Matrix, smooth_both_ways, smoothing_matrix
from ruggedize.kernels.truncation import truncated

NUM_MOVES = 6  # random values: x and y of the three points that define the affine map
HALF_WORD = np.uint64(32)
LOW_32 = np.uint64(0xFFFFFFFF)
TO_SYMMETRIC = np.float32(2.0**-31)


def with_displacement(
    level: tuple[float, float, float], height: int, width: int
) -> tuple[tuple[float, float], tuple[Matrix, Matrix]]:
    """Prepare the elastic transform; `level` is (alpha, sigma, largest move), in pixels."""
    alpha, sigma, largest_move = level
    smoothing = smoothing_matrix(height, sigma), smoothing_matrix(width, sigma)
    return (float(alpha), float(largest_move)), smoothing


@kernel
def elastic_transform_block(images, out, lengths, smoothing, stream, indices):
    """Transform the images with these `indices`; `lengths` is (alpha, largest move)."""
    _, channels, height, width = images.shape
    alpha, largest_move = lengths
    moves, noise = np.empty((3, 2)), np.empty((2, height, width), np.float32)
    fields = np.empty((2, height, width), np.float32)
    halfway = np.empty((width + 1, height), np.float32)
    warped = np.empty((channels, height, width), np.float32)
    memory = fields, halfway, warped
    for i in range(len(images)):
        key = image_key(stream, indices[i])
        draw_moves(key, largest_move, moves.ravel())
        draw_noise(key, noise.ravel())
        elastic_transform(images[i], out[i], (moves, noise), alpha, smoothing, memory)


@kernel
def draw_moves(key, largest_move, out):
    """Draw the displacements of the three points from -largest_move..largest_move."""
    for i in range(NUM_MOVES):
        out[i] = largest_move * (2.0 * uniform(key, i) - 1.0)


@kernel
def draw_noise(key, out):
    """Fill a vector with uniform values in -1..1, two per hash."""
    for i in range(0, len(out), 2):
        word = bits(key, NUM_MOVES + i // 2)
        out[i] = np.float32(word & LOW_32) * TO_SYMMETRIC - np.float32(1)
        if i + 1 < len(out):
            out[i + 1] = np.float32(word >> HALF_WORD) * TO_SYMMETRIC - np.float32(1)


@kernel
def elastic_transform(image, out, draws, alpha, smoothing, memory):
    """Apply a random affine map, given by three moved points, then displace each pixel.

    `draws` is (moves, noise). The moves are (right, down) for each point, `[3, 2]`. The noise in
    -1..1, float32 `[2, h, w]`, is smoothed and scaled by `alpha` to displacements (right, down).
    `memory` is (fields, halfway, warped): float32 `[2, h, w]`, `[w + 1, h]` and `[3, h, w]`.
    Source: the CIFAR-10-C script.
    """
    moves, noise = draws
    fields, halfway, warped = memory
    _, height, width = image.shape
    warp_affine(image, warped, inverse(map_of_points(moves, height, width)))
    down, across = smoothing
    for k in range(2):
        smooth_both_ways(noise[k], down, across, halfway, fields[k])
    displace(warped, alpha, fields, out)


@kernel
def map_of_points(moves, height, width):
    """Return the affine map that moves three corners of a central square by `moves`.

    Deviation: the square has a side of at least 2 pixels and is also centred in images that are
    not square; the script supports only square images.
    """
    half = max(1, min(height, width) // 3)
    right, left = width // 2 + half, width // 2 - half
    lower, upper = height // 2 + half, height // 2 - half
    lower_x, lower_y = right + moves[0, 0], lower + moves[0, 1]
    upper_x, upper_y = right + moves[1, 0], upper + moves[1, 1]
    left_x, left_y = left + moves[2, 0], upper + moves[2, 1]
    a, b = (upper_x - left_x) / (2 * half), (lower_x - upper_x) / (2 * half)
    d, e = (upper_y - left_y) / (2 * half), (lower_y - upper_y) / (2 * half)
    c, f = lower_x - a * right - b * lower, lower_y - d * right - e * lower
    return a, b, c, d, e, f


@kernel
def displace(image, alpha, fields, out):
    """Sample each pixel at its position plus `alpha` times the fields, reflecting edges.

    Source: SciPy's `map_coordinates` of order 1 with mode `reflect`.
    """
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            at_x, at_y = x + alpha * fields[0, y, x], y + alpha * fields[1, y, x]
            left, top = math.floor(at_x), math.floor(at_y)
            across, down = np.float32(at_x - left), np.float32(at_y - top)
            right, bottom = left + 1, top + 1
            if left < 0 or top < 0 or right >= width or bottom >= height:
                left, right = reflected(left, width), reflected(right, width)
                top, bottom = reflected(top, height), reflected(bottom, height)
            for c in range(3):
                corners = left, right, top, bottom
                out[c, y, x] = truncated(mix(image[c], corners, across, down))
