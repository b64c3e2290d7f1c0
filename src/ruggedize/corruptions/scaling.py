"""The preset `scaled`: the levels of the CIFAR script with their lengths scaled to the image.

A pixel is itself a blur, by a box of one pixel, and has the same size in pixels in every image. So
only what a blur adds to it grows with the image: its standard deviation, together with that of a
pixel, minus that of a pixel. Simply multiplied, lengths below a pixel would change a larger image
two to four times as much.

Every function takes a level and the factor, the shorter side of the image divided by 32.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import cast

import numpy as np

from ruggedize.kernels.disk import disk
from ruggedize.kernels.filters import gaussian_weights
from ruggedize.kernels.motion import motion_line

PIXEL_VARIANCE = 1 / 12  # of a box of one pixel
LARGEST_SIGMA = 1_000.0
SMALLEST_SIGMA = 0.01
SMALLEST_SOFTNESS = 0.1  # of a disk: the mildest in the scripts
JPEG_POWER = 1.5
"""Power of the factor for the quantisation steps; fitted, as blocks stay 8 pixels wide."""
PIXELATE_POWER = 1.8
"""Power of the factor for the variance of a block beyond that of a pixel; fitted."""
FEW_DROPS, MANY_DROPS, MUD_SPREAD = 0.36, -0.52, 0.04
"""Powers of the factor for spatter, fitted: strength of sparse and of dense water, spread of mud.

The edges of drops stay one pixel wide, and the brightest of more pixels is brighter.
"""
DENSE = 0.2  # drops cover a large part of the image if the noise spreads more than this

Triple = tuple[float, float, float]


def variance(weights: np.ndarray) -> float:
    """Return the variance of a line of weights, in square pixels."""
    places = np.arange(len(weights))
    total = weights.sum()
    mean = (weights * places).sum() / total
    return float((weights * (places - mean) ** 2).sum() / total)


def scaled_variance(beyond_pixel: float, factor: float) -> float:
    """Return the variance that changes an image `factor` times as large by as much."""
    pixel = math.sqrt(PIXEL_VARIANCE)
    added = math.sqrt(PIXEL_VARIANCE + beyond_pixel) - pixel
    return (pixel + factor * added) ** 2 - PIXEL_VARIANCE


def solved(grows: Callable[[float], float], target: float) -> float:
    """Return where an increasing function reaches the target, by bisection."""
    low, high = SMALLEST_SIGMA, LARGEST_SIGMA
    while high - low > 1e-6 * high:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if grows(middle) < target else (low, middle)
    return high


@cache
def gaussian_blur(sigma: float, factor: float) -> float:
    """Scale a standard deviation; kernels below one pixel are narrower than their sigma."""
    return sigma_of(scaled_variance(variance(gaussian_weights(sigma)), factor))


def sigma_of(target: float) -> float:
    """Return the sigma of the Gaussian kernel with this variance."""
    return solved(lambda sigma: variance(gaussian_weights(sigma)), target)


@cache
def defocus_blur(level: tuple[float, float], factor: float) -> tuple[float, float]:
    """Scale the disk; the soft edge makes up for the whole pixels that a disk consists of."""
    before = variance(disk(*level).sum(axis=0))
    target = scaled_variance(before, factor)
    radius = level[0] * math.sqrt(target / before)
    while disk_variance(radius) >= target:
        radius *= 0.97
    return radius, max(SMALLEST_SOFTNESS, sigma_of(target - disk_variance(radius)))


def disk_variance(radius: float) -> float:
    """Return the variance of a hard disk along one axis."""
    offsets = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    return variance((offsets**2 + offsets[:, None] ** 2 <= radius**2).sum(axis=0).astype(float))


@cache
def glass_blur(level: Triple, factor: float) -> Triple:
    """Scale offsets, which are whole pixels; what they lack is added to the blur."""
    sigma, largest_offset, num_rounds = level
    target = scaled_variance(offset_variance(largest_offset) * num_rounds, factor) / num_rounds
    candidates = range(1, math.ceil(2 * factor * largest_offset) + 1)
    offset = min(candidates, key=lambda offset: abs(offset_variance(offset) - target))
    missing = max(0.0, target - offset_variance(offset)) * num_rounds / 2  # of each of two blurs
    blurred = scaled_variance(variance(gaussian_weights(sigma)), factor)
    return sigma_of(blurred + missing), offset, num_rounds


def offset_variance(largest: float) -> float:
    """Return the mean square of the integers in `-largest .. largest - 1`."""
    return float((np.arange(-largest, largest) ** 2.0).mean())


@cache
def motion_blur(level: tuple[float, float], factor: float) -> tuple[float, float]:
    """Scale radius and standard deviation."""
    radius, sigma = level
    target = scaled_variance(variance(motion_line(radius, sigma)), factor)
    longer = radius * factor
    return longer, solved(lambda new: variance(motion_line(longer, new)), target)


def zoom_blur(level: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Round the crops to pixels of an image of 32 pixels; the zooms are ratios."""
    return (*level, factor)


def snow(level: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Scale the flakes and their motion.

    Enlarged noise is interpolated, which halves its spread at most; noise that was not enlarged
    before spreads 1.5 times as far.
    """
    loc, spread, zoom, threshold, radius, sigma, mix = level
    spread *= 1.5 if zoom == 1 and factor > 1 else 1.0
    return loc, spread, max(1.0, zoom * factor), threshold, radius * factor, sigma * factor, mix


def frost(level: Triple, factor: float) -> Triple:
    """Scale the textures."""
    weight, frost_weight, scale = level
    return weight, frost_weight, scale * factor


def elastic_transform(level: Triple, factor: float) -> Triple:
    """Scale displacements and moves; smoothing over twice as many pixels halves the noise."""
    alpha, sigma, largest_move = level
    return alpha * factor**2, sigma * factor, largest_move * factor


def pixelate(scale: float, factor: float) -> float:
    """Scale the blocks, which are 1 / `scale` pixels wide."""
    return 1 / math.sqrt(1 + factor**PIXELATE_POWER * (1 / scale**2 - 1))


def jpeg_compression(quality: float, factor: float) -> float:
    """Scale the quantisation steps.

    Source: libjpeg's `jpeg_quality_scaling`: the steps are 200 - 2 q or, below 50, 5000 / q percent
    of those of the standard.
    """
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    percent *= factor**JPEG_POWER
    return max(1, round(5000 / percent if percent > 100 else (200 - percent) / 2))


def spatter(level: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Scale the drops; their noise is stronger, as a wider blur averages more of it away."""
    loc, spread, sigma, threshold, strength, is_mud = level
    averaged = peak(sigma) / peak(sigma * factor)
    if is_mud:
        wider = spread * averaged * factor**MUD_SPREAD
        return loc, wider, sigma * factor, threshold, strength * factor, is_mud
    power = MANY_DROPS if spread > DENSE else FEW_DROPS
    water = strength * factor**power
    return loc, spread * averaged, sigma * factor, threshold, water, is_mud


def peak(sigma: float) -> float:
    """Return the spread of white noise of spread 1 after a Gaussian blur."""
    return cast(float, (gaussian_weights(sigma) ** 2).sum())
