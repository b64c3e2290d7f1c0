"""Spatter: drops of water or mud on the lens."""

import numpy as np

from ruggedize.corruptions.pixel_noise import draw_normals, normal_table
from ruggedize.kernels.draws import image_key
from ruggedize.kernels.edges import MARGIN, find_edges, measure_distances
from ruggedize.kernels.filters import filter_3x3, filter_both_ways, gaussian_taps
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.truncation import truncated

WATER = (175.0, 238.0, 238.0)  # pale turquoise
MUD = (63.0, 42.0, 20.0)
LEAST_MUD = 0.8
LOW, HIGH = 50, 150  # thresholds of the Canny edge detector
FARTHEST = np.float32(20)  # pixels; distances from an edge are clipped to this value
NINTH = 1.0 / 9.0
EVEN = np.ones((3, 3))
RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float64)


def with_liquid(level: tuple[float, ...], height: int, width: int) -> tuple[object, ...]:
    """Prepare the spatter; `level` is (mean, spread, blur, threshold, strength, is_mud)."""
    loc, scale, sigma, threshold, strength, is_mud = level
    liquid = float(loc), float(scale), float(threshold), gaussian_taps(sigma)
    fading = gaussian_taps(strength) if is_mud else np.ones(1, np.float32)
    return liquid, bool(is_mud), float(strength), fading, normal_table()


@kernel
def spatter_block(images, out, liquid, is_mud, strength, fading, quantiles, stream, indices):
    """Apply spatter to the images with these `indices`."""
    height, width = images.shape[2:]
    normals = np.empty(height * width, np.float32)
    work = working_planes(height, width)
    for i in range(len(images)):
        draw_normals(image_key(stream, indices[i]), quantiles, normals)
        if is_mud:
            mud(images[i], out[i], normals, liquid, fading, work[0])
        else:
            water(images[i], out[i], normals, liquid, strength, work)


@kernel
def working_planes(height, width):
    """Allocate work memory, which is reused for all images."""
    floats = np.empty((2, height, width), np.float32)
    planes, padded = np.empty((2, height, width)), np.empty((height + 2, width + 2))
    gradients = np.empty((2, height, width), np.int32)
    sizes = np.empty((height + 2, width + 2), np.int32)
    distances = np.empty((height + 2 * MARGIN, width + 2 * MARGIN), np.float32)
    stack = np.empty(height * width, np.int32)
    wet, edges = np.empty((height, width), np.uint8), np.empty((height, width), np.uint8)
    return floats, planes, padded, gradients, sizes, stack, distances, wet, edges


@kernel
def pour(normals, liquid, floats):
    """Compute the liquid in `floats[1]`: blurred noise, with 0 below the threshold."""
    loc, scale, threshold, taps = liquid
    noise, level = floats[0].ravel(), floats[1].ravel()
    for j in range(len(normals)):
        noise[j] = loc + scale * normals[j]
    line = np.empty(floats.shape[2] + len(taps) - 1, np.float32)
    filter_both_ways(floats[0], taps, line, floats[1])
    for j in range(len(level)):
        if level[j] < threshold:
            level[j] = np.float32(0)


@kernel
def mud(source, out, normals, liquid, fading, floats):
    """Blend mud over the image where the blurred liquid mask reaches `LEAST_MUD`."""
    _, _, threshold, _ = liquid
    pour(normals, liquid, floats)
    level, cover = floats[1].ravel(), floats[0].ravel()
    for j in range(len(level)):
        level[j] = np.float32(1 if level[j] > threshold else 0)
    line = np.empty(floats.shape[2] + len(fading) - 1, np.float32)
    filter_both_ways(floats[1], fading, line, floats[0])
    for c in range(3):
        values, targets = source[c].ravel(), out[c].ravel()
        for j in range(len(cover)):
            share = cover[j] if cover[j] >= LEAST_MUD else np.float32(0)
            targets[j] = truncated(values[j] * (1.0 - share) + MUD[c] * share)


@kernel
def water(source, out, normals, liquid, strength, work):
    """Add the highlights of water drops, lit from one side.

    Deviation: without drops, the image is unchanged; the official code returns black (0 / 0).
    """
    floats, planes, _, _, _, _, _, wet, _ = work
    pour(normals, liquid, floats)
    level, depth = floats[1].ravel(), wet.ravel()
    for j in range(len(level)):
        depth[j] = np.int32(level[j] * np.float32(255))
    shade(work)
    light, shading = floats[0].ravel(), planes[0].ravel()
    brightest = np.float32(0)
    for j in range(len(light)):
        light[j] = depth[j] * shading[j]
        brightest = max(brightest, light[j])
    gain = strength / brightest if brightest > 0 else 0.0
    for c in range(3):
        values, targets = source[c].ravel(), out[c].ravel()
        for j in range(len(light)):
            targets[j] = truncated(values[j] + light[j] * gain * WATER[c])


@kernel
def shade(work):
    """Compute the shading of the drops in `planes[0]`: the embossed distance to their edges."""
    _, planes, padded, gradients, sizes, stack, distances, wet, edges = work
    height, width = wet.shape
    find_edges(wet, LOW, HIGH, gradients, sizes, stack, edges)
    measure_distances(edges, distances)
    relief, shading = planes[1].ravel(), planes[0].ravel()
    for y in range(height):
        for x in range(width):
            planes[1, y, x] = min(distances[y + MARGIN, x + MARGIN], FARTHEST)
    filter_3x3(planes[1], EVEN, padded, planes[0])
    for j in range(len(shading)):  # mean of nine in float32, truncated
        shading[j] = np.int32(np.float32(shading[j] * NINTH))
    equalise(shading)
    filter_3x3(planes[0], RELIEF, padded, planes[1])
    for j in range(len(relief)):
        relief[j] = min(max(relief[j], 0.0), 255.0)
    filter_3x3(planes[1], EVEN, padded, planes[0])
    for j in range(len(shading)):  # mean of nine, rounded
        shading[j] = np.int32((shading[j] + 4.5) * NINTH)


@kernel
def equalise(values):
    """Equalise the histogram of integers in 0..255, in place.

    Source: OpenCV's `equalizeHist`: each value is replaced with 255 times the cumulative fraction
    of values up to it, not counting the lowest value; constant input does not change.
    """
    counts = np.zeros(256, np.int64)
    for value in values:
        counts[int(value)] += 1
    lowest = 0
    while counts[lowest] == 0:
        lowest += 1
    if counts[lowest] == len(values):
        return
    scale = np.float32(255) / np.float32(len(values) - counts[lowest])
    table, total = np.zeros(256), 0
    for value in range(lowest + 1, 256):
        total += counts[value]
        table[value] = np.rint(np.float32(total) * scale)
    for j in range(len(values)):
        values[j] = table[int(values[j])]
