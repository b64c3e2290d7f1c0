"""The preset `scaled`: the levels of the CIFAR script, with lengths scaled to the image size.

A pixel is itself a blur by a box of one pixel, whatever the image size. Therefore only what a blur
adds to the pixel is scaled: the standard deviation of pixel and blur together, minus that of a
pixel. If lengths below one pixel were simply multiplied, they would change larger images two to
four times as much.

Every function takes a level and the factor: the shorter side of the image divided by 32.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import cast

import numpy as np

from ruggedize.kernels.disk import disk
from ruggedize.kernels.filters import gaussian_weights
from ruggedize.kernels.motion import motion_line

PIXEL_VARIANCE = 1 / 12  # variance of a box of one pixel
LARGEST_SIGMA = 1_000.0
SMALLEST_SIGMA = 0.01
SMALLEST_SOFTNESS = 0.1  # smallest softness of a disk in the scripts
JPEG_POWER = 1.5
"""Power of the factor that scales quantisation steps; fitted, because blocks stay 8 pixels wide."""
PIXELATE_POWER = 1.8
"""Power of the factor that scales the variance of a block beyond that of a pixel; fitted."""
FEW_DROPS, MANY_DROPS, MUD_SPREAD = 0.36, -0.52, 0.04
"""Powers of the factor for spatter: strength of sparse and of dense water, and spread of mud.

They are fitted, because the edges of drops stay one pixel wide, and because the brightest pixel of
a larger image is brighter.
"""
DENSE = 0.2  # if the noise has a larger spread, drops cover a large part of the image

Triple = tuple[float, float, float]


def variance(weights: np.ndarray) -> float:
    """Return the variance, in square pixels, of a distribution with these weights on a line."""
    places = np.arange(len(weights))
    total = weights.sum()
    mean = (weights * places).sum() / total
    return float((weights * (places - mean) ** 2).sum() / total)


def scaled_variance(beyond_pixel: float, factor: float) -> float:
    """Return the variance that has the same effect on an image `factor` times as large."""
    pixel = math.sqrt(PIXEL_VARIANCE)
    added = math.sqrt(PIXEL_VARIANCE + beyond_pixel) - pixel
    return (pixel + factor * added) ** 2 - PIXEL_VARIANCE


def solved(grows: Callable[[float], float], target: float) -> float:
    """Return the argument at which an increasing function reaches the target, by bisection."""
    low, high = SMALLEST_SIGMA, LARGEST_SIGMA
    while high - low > 1e-6 * high:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if grows(middle) < target else (low, middle)
    return high


@cache
def gaussian_blur(sigma: float, factor: float) -> float:
    """Scale the standard deviation, using the filter's own: narrow filters differ from sigma."""
    return sigma_of(scaled_variance(variance(gaussian_weights(sigma)), factor))


def sigma_of(target: float) -> float:
    """Return the sigma of the Gaussian filter that has this variance."""
    return solved(lambda sigma: variance(gaussian_weights(sigma)), target)


@cache
def defocus_blur(level: tuple[float, float], factor: float) -> tuple[float, float]:
    """Scale the disk; its soft edge compensates for the rounding of the disk to whole pixels."""
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
    """Scale the offsets, which are whole pixels; the missing variance is added to the blur."""
    sigma, largest_offset, num_rounds = level
    target = scaled_variance(offset_variance(largest_offset) * num_rounds, factor) / num_rounds
    candidates = range(1, math.ceil(2 * factor * largest_offset) + 1)
    offset = min(candidates, key=lambda offset: abs(offset_variance(offset) - target))
    missing = max(0.0, target - offset_variance(offset)) * num_rounds / 2  # for each of two blurs
    blurred = scaled_variance(variance(gaussian_weights(sigma)), factor)
    return sigma_of(blurred + missing), offset, num_rounds


def offset_variance(largest: float) -> float:
    """Return the mean square of the integers -largest..largest-1."""
    return float((np.arange(-largest, largest) ** 2.0).mean())


@cache
def motion_blur(level: tuple[float, float], factor: float) -> tuple[float, float]:
    """Scale the radius and the standard deviation."""
    radius, sigma = level
    target = scaled_variance(variance(motion_line(radius, sigma)), factor)
    longer = radius * factor
    return longer, solved(lambda new: variance(motion_line(longer, new)), target)


def zoom_blur(level: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Round crops to the pixels of a 32-pixel image; zooms are ratios and stay the same."""
    return (*level, factor)


def snow(level: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Scale the flakes and their motion.

    Enlarging noise interpolates it, which reduces its spread, down to a half. Noise that the script
    does not enlarge gets 1.5 times the spread to compensate.
    """
    loc, spread, zoom, threshold, radius, sigma, mix = level
    spread *= 1.5 if zoom == 1 and factor > 1 else 1.0
    return loc, spread, max(1.0, zoom * factor), threshold, radius * factor, sigma * factor, mix


def frost(level: Triple, factor: float) -> Triple:
    """Scale the textures."""
    weight, frost_weight, scale = level
    return weight, frost_weight, scale * factor


def elastic_transform(level: Triple, factor: float) -> Triple:
    """Scale displacements and moves; smoothing twice as widely halves the noise."""
    alpha, sigma, largest_move = level
    return alpha * factor**2, sigma * factor, largest_move * factor


def pixelate(scale: float, factor: float) -> float:
    """Scale the blocks, which are 1 / `scale` pixels wide."""
    return 1 / math.sqrt(1 + factor**PIXELATE_POWER * (1 / scale**2 - 1))


def jpeg_compression(quality: float, factor: float) -> float:
    """Scale the quantisation steps.

    Source: libjpeg's `jpeg_quality_scaling`: for a quality q, steps are 200 - 2 q percent of those
    in the standard, or 5000 / q percent if q is below 50.
    """
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    percent *= factor**JPEG_POWER
    return max(1, round(5000 / percent if percent > 100 else (200 - percent) / 2))


def spatter(level: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Scale the drops, with stronger noise, because a wider blur averages more of it away."""
    loc, spread, sigma, threshold, strength, is_mud = level
    averaged = peak(sigma) / peak(sigma * factor)
    if is_mud:
        wider = spread * averaged * factor**MUD_SPREAD
        return loc, wider, sigma * factor, threshold, strength * factor, is_mud
    power = MANY_DROPS if spread > DENSE else FEW_DROPS
    water = strength * factor**power
    return loc, spread * averaged, sigma * factor, threshold, water, is_mud


def peak(sigma: float) -> float:
    """Return the standard deviation of unit white noise after a Gaussian blur."""
    return cast(float, (gaussian_weights(sigma) ** 2).sum())
