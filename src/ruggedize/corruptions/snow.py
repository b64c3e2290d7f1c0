"""Snow: motion-blurred flakes over a whitened image."""

import math

import numpy as np

from ruggedize.corruptions.pixel_noise import draw_normals, normal_table
from ruggedize.kernels.draws import image_key, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.motion import motion_blur, motion_weights
from ruggedize.kernels.truncation import truncated

FIRST_ANGLE, LAST_ANGLE = -135.0, -45.0  # degrees; range of the motion blur


def with_flakes(level: tuple[float, ...], height: int, width: int) -> tuple[object, ...]:
    """Prepare the snow.

    `level` is (mean, spread, zoom, threshold, motion-blur radius, motion-blur sigma, mix).
    """
    loc, scale, zoom, threshold, radius, sigma, mix = level
    noise = float(loc), float(scale), float(threshold)
    places = (*zoomed_places(height, zoom), *zoomed_places(width, zoom))
    return noise, places, motion_weights(radius, sigma), float(mix), normal_table()


def zoomed_places(size: int, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions that a centre zoom samples: int64 `[size]`, and fractions, float32.

    Source: the official `clipped_zoom`: SciPy's `zoom`, which aligns the first and last pixels,
    followed by a crop to the original size.
    """
    kept = math.ceil(size / zoom)
    zoomed = round(kept * zoom)
    new = np.arange(size) + (zoomed - size) // 2
    places = (size - kept) // 2 + new * (kept - 1) / max(zoomed - 1, 1)
    whole = np.minimum(places.astype(np.int64), max(size - 2, 0))
    return whole, (places - whole).astype(np.float32)


@kernel
def snow_block(images, out, noise, places, weights, mix, quantiles, stream, indices):
    """Add snow to the images with these `indices`."""
    height, width = images.shape[2:]
    normals = np.empty(height * width, np.float32)
    flakes = np.empty((height, width), np.uint8)
    blurred = np.empty((height, width), np.uint8)
    rows = np.empty((height, width + 2 * len(weights)), np.float32)
    line = np.empty(width, np.float32)
    for i in range(len(images)):
        key = image_key(stream, indices[i])
        draw_normals(key, quantiles, normals)
        angle_degrees = FIRST_ANGLE + (LAST_ANGLE - FIRST_ANGLE) * uniform(key, len(normals))
        form_flakes(normals, noise, places, flakes)
        motion_blur(flakes, blurred, weights, angle_degrees, rows, line)
        snow(images[i], out[i], blurred, mix)


@kernel
def form_flakes(normals, noise, places, flakes):
    """Zoom the noise and set values below the threshold to 0; the others are flakes, 0..255."""
    loc, scale, threshold = noise
    row_places, down, column_places, across = places
    height, width = flakes.shape
    for y in range(height):
        top = row_places[y] * width
        below = top + (width if down[y] > 0 else 0)
        for x in range(width):
            left = column_places[x]
            right = left + (1 if across[x] > 0 else 0)
            upper = normals[top + left] * (1 - across[x]) + normals[top + right] * across[x]
            lower = normals[below + left] * (1 - across[x]) + normals[below + right] * across[x]
            flake = loc + scale * (upper * (1 - down[y]) + lower * down[y])
            flake = min(max(flake, 0.0), 1.0) if flake >= threshold else 0.0
            flakes[y, x] = np.int32(255.0 * flake)


@kernel
def snow(source, out, flakes, mix):
    """Whiten the image by 1 - mix, then add the flakes and a copy rotated by 180 degrees."""
    height, width = flakes.shape
    for y in range(height):
        for x in range(width):
            red, green, blue = source[0, y, x], source[1, y, x], source[2, y, x]
            pale = 1.5 * (0.299 * red + 0.587 * green + 0.114 * blue) + 127.5
            flake = np.int32(flakes[y, x]) + flakes[height - 1 - y, width - 1 - x]
            for c in range(3):
                value = source[c, y, x]
                out[c, y, x] = truncated(mix * value + (1.0 - mix) * max(value, pale) + flake)
