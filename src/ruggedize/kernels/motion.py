"""Motion blur, as in ImageMagick."""

import math

import numpy as np

from ruggedize.kernels.kernel import kernel

SMALLEST_WEIGHT = 1e-6  # smaller weights change a pixel by less than 0.001
HALF_QUANTUM = np.float32(0.5 / 257)  # ImageMagick rounds to 16 bits, then drops the lower 8


def motion_line(radius: float, sigma: float) -> np.ndarray:
    """Return the weights along the line, starting with the pixel itself; float64 with sum 1.

    Source: ImageMagick, `GetMotionBlurKernel`: half a Gaussian of `2 * ceil(radius) + 1` pixels.
    """
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    return weights / weights.sum()


def motion_weights(radius: float, sigma: float) -> np.ndarray:
    """Return `motion_line` as float32, without its negligible tail."""
    weights = motion_line(radius, sigma)
    return weights[weights > SMALLEST_WEIGHT].astype(np.float32)


@kernel
def motion_blur(plane, out, weights, angle_degrees, rows, line):
    """Blur a plane of values 0..255 along a line, with replicated edges; `out` is uint8.

    Angle 0 points right and 90 down. `rows`, float32 `[h, w + 2 * len(weights)]`, and
    `line`, float32 `[w]`, are work memory.
    Source: ImageMagick, `MotionBlurImage`: steps of whole pixels, values truncated.
    """
    height, width = plane.shape
    margin = len(weights)
    cosine = math.cos(math.radians(angle_degrees))
    sine = math.sin(math.radians(angle_degrees))
    for y in range(height):
        rows[y, :margin] = plane[y, 0]
        for x in range(width):
            rows[y, margin + x] = plane[y, x]
        rows[y, margin + width :] = plane[y, width - 1]
    for y in range(height):
        line[:] = HALF_QUANTUM
        for step in range(len(weights)):
            right = math.ceil(step * cosine - 0.5)
            down = math.ceil(step * sine - 0.5)
            start = margin + right
            moved = rows[min(max(y + down, 0), height - 1), start : start + width]
            for x in range(width):
                line[x] += weights[step] * moved[x]
        for x in range(width):
            out[y, x] = np.uint8(np.int32(min(line[x], np.float32(255))))
