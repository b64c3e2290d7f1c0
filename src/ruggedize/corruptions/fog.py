"""Fog: plasma noise blended over the image."""

import numpy as np

from ruggedize.kernels.draws import image_key, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.truncation import truncated

FIRST_WOBBLE = 100.0


def with_cloud(level: tuple[float, float], height: int, width: int) -> tuple[float, float, int]:
    """Prepare the fog: its weight, its decay per octave, and the side of the cloud in pixels.

    The side is the smallest power of two that covers the image.
    """
    weight, decay = level
    side = 2
    while side < max(height, width):
        side *= 2
    return float(weight), float(decay), side


@kernel
def fog_block(images, out, weight, decay, side, stream, indices):
    """Add fog to the images with these `indices`."""
    uniforms = np.empty(side * side - 1, np.float32)
    cloud = np.empty((side, side), np.float32)
    for i in range(len(images)):
        key = image_key(stream, indices[i])
        for j in range(len(uniforms)):
            uniforms[j] = uniform(key, j)
        fog(images[i], out[i], uniforms, weight, decay, cloud)


@kernel
def fog(source, out, uniforms, weight, decay, cloud):
    """Add a cloud, then rescale so that the maximum does not exceed the image's maximum."""
    height, width = source.shape[1:]
    grow_cloud(uniforms, decay, cloud)
    lowest, highest = cloud[0, 0], cloud[0, 0]
    for value in cloud.ravel():
        lowest, highest = min(lowest, value), max(highest, value)
    brightest = 0
    for value in source.ravel():
        brightest = max(brightest, value)
    ratio = brightest / (brightest + 255.0 * weight)
    scale = 255.0 * weight / (highest - lowest)
    for c in range(3):
        for y in range(height):
            for x in range(width):
                veil = scale * (cloud[y, x] - lowest)
                out[c, y, x] = truncated((source[c, y, x] + veil) * ratio)


@kernel
def grow_cloud(uniforms, decay, cloud):
    """Fill a square, whose side is a power of two, with periodic plasma noise (diamond-square).

    Each round halves the step. First, the centre of each square is set to the mean of its four
    corners plus noise; then, the midpoint of each side to the mean of its four neighbours plus
    noise.
    Source: Fournier, Fussell & Carpenter 1982; random values are drawn in the order of the
    CIFAR-10-C script.
    """
    side = len(cloud)
    last = side - 1  # bit mask for wrapping around
    cloud[0, 0] = np.float32(0)
    step, wobble, draw = side, FIRST_WOBBLE, 0
    while step >= 2:
        half, reach = step // 2, wobble * wobble
        for y in range(0, side, step):
            below = (y + step) & last
            for x in range(0, side, step):
                right = (x + step) & last
                corners = (cloud[y, x] + cloud[below, x]) + (cloud[y, right] + cloud[below, right])
                cloud[y + half, x + half] = corners * 0.25 + reach * (2.0 * uniforms[draw] - 1.0)
                draw += 1
        for offset_y, offset_x in ((0, half), (half, 0)):
            for y in range(offset_y, side, step):
                above, below = (y - half) & last, (y + half) & last
                for x in range(offset_x, side, step):
                    left, right = (x - half) & last, (x + half) & last
                    near = (cloud[above, x] + cloud[below, x]) + (cloud[y, left] + cloud[y, right])
                    cloud[y, x] = near * 0.25 + reach * (2.0 * uniforms[draw] - 1.0)
                    draw += 1
        step, wobble = half, wobble / decay
