"""Random corruptions of one image with draws that the test chooses: uint8 `[3, h, w]`."""

import numpy as np

from ruggedize.corruptions import elastic, glass
from ruggedize.kernels import motion

Level = tuple[float, float, float]


def glass_blur(pixels: np.ndarray, level: Level, offsets: np.ndarray) -> np.ndarray:
    """`offsets` is [rounds, rows, columns, 2]: right and down, the lower right pixel first."""
    _, height, width = pixels.shape
    taps, (largest, _) = glass.with_glass(level, height, width)
    out = np.empty_like(pixels)
    memory = np.empty(width + len(taps) - 1), np.empty((height, width))
    glass.glass_blur(pixels, out, taps, offsets.astype(np.int8), largest, memory)
    return out


def motion_blur(pixels: np.ndarray, level: tuple[float, float], angle: float) -> np.ndarray:
    """`angle` in degrees."""
    _, height, width = pixels.shape
    weights = motion.motion_weights(*level)
    rows = np.empty((height, width + 2 * len(weights)), np.float32)
    out = np.empty_like(pixels)
    for plane, target in zip(pixels, out, strict=True):
        motion.motion_blur(plane, target, weights, angle, rows, np.empty(width, np.float32))
    return out


def elastic_transform(
    pixels: np.ndarray, level: Level, moves: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """`moves` is [3, 2] in pixels, `noise` [2, h, w] from -1 to 1."""
    _, height, width = pixels.shape
    (alpha, _), smoothing = elastic.with_displacement(level, height, width)
    out = np.empty_like(pixels)
    shapes = (2, height, width), (width + 1, height), pixels.shape
    fields, halfway, warped = (np.empty(shape, np.float32) for shape in shapes)
    draws = moves, noise.astype(np.float32)
    elastic.elastic_transform(pixels, out, draws, alpha, smoothing, (fields, halfway, warped))
    return out
