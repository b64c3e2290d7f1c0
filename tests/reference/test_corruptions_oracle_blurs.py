"""Blurs and the elastic transform against slow and obvious ones, on any size and both presets.

Every oracle takes and gives an image `[h, w, 3]`; a random one is fed with its draws.
"""

import numpy as np
import pytest
from scipy import ndimage

from ruggedize.corruptions import CORRUPTIONS
from ruggedize.corruptions.names import SEVERITIES
from tests import fed_corruptions
from tests.reference.test_corruptions_oracle import far_from, ours, picture, to_pixels

TINY = (2, 3)  # where one severity, or one draw, need not differ from another
SIZES = [(64, 64), (96, 80), (45, 37), (12, 12), TINY]


def disk(radius: float, softness: float) -> np.ndarray:
    reach, reach_of_blur = (8, 1) if radius <= 8 else (int(radius), 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    hard = (x**2 + y**2 <= radius**2) / np.sum(x**2 + y**2 <= radius**2)
    y, x = np.mgrid[-reach_of_blur : reach_of_blur + 1, -reach_of_blur : reach_of_blur + 1]
    gaussian = np.exp(-(x**2 + y**2) / (2 * softness**2))
    return ndimage.correlate(hard, gaussian / gaussian.sum(), mode="mirror")


def defocus_blur(pixels: np.ndarray, level: tuple[float, float]) -> np.ndarray:
    kernel = disk(*level)
    planes = [ndimage.correlate(pixels[..., c] / 255, kernel, mode="mirror") for c in range(3)]
    return to_pixels(np.stack(planes, axis=-1))


def zoom_blur(pixels: np.ndarray, level: tuple[float, float]) -> np.ndarray:
    values = pixels / 255
    zooms = [clipped_zoom(values, zoom) for zoom in np.arange(1, *level)]
    return to_pixels((values + sum(zooms)) / (len(zooms) + 1))


def clipped_zoom(values: np.ndarray, zoom: float) -> np.ndarray:
    height, width = values.shape[:2]
    cut_height, cut_width = int(np.ceil(height / zoom)), int(np.ceil(width / zoom))
    top, left = (height - cut_height) // 2, (width - cut_width) // 2
    cut = values[top : top + cut_height, left : left + cut_width]
    large = ndimage.zoom(cut, (zoom, zoom, 1), order=1)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


def motion_blur(pixels: np.ndarray, level: tuple[float, float], angle: float) -> np.ndarray:
    radius, sigma = level
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    total = np.zeros(pixels.shape)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        right = np.ceil(step * np.cos(np.deg2rad(angle)) - 0.5).astype(int)
        down = np.ceil(step * np.sin(np.deg2rad(angle)) - 0.5).astype(int)
        rows = np.clip(y + down, 0, pixels.shape[0] - 1)
        total += weight * pixels[rows, np.clip(x + right, 0, pixels.shape[1] - 1)]
    return (total + 0.5 / 257).astype(np.uint8)


def glass_blur(
    pixels: np.ndarray, level: tuple[float, int, int], offsets: np.ndarray
) -> np.ndarray:
    sigma, largest, num_rounds = level
    image = blurred(pixels, sigma)
    height, width = pixels.shape[:2]
    for k in range(num_rounds):
        for i, y in enumerate(range(height - largest, largest, -1)):
            for j, x in enumerate(range(width - largest, largest, -1)):
                right, down = offsets[k, i, j]
                image[y, x] = image[y + down, x + right]
    return blurred(image, sigma)


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return to_pixels(ndimage.gaussian_filter(pixels / 255, (sigma, sigma, 0), mode="nearest"))


def elastic_transform(
    pixels: np.ndarray, level: tuple[float, float, float], moves: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    alpha, sigma, _ = level
    height, width = pixels.shape[:2]
    half = max(1, min(height, width) // 3)
    middle = np.array([width // 2, height // 2])
    corners = middle + half * np.array([[1, 1], [1, -1], [-1, -1]])
    warped = warp_affine(pixels, corners, corners + moves)
    y, x = np.mgrid[:height, :width]
    right, down = [
        alpha * ndimage.gaussian_filter(field, sigma, mode="reflect", truncate=3) for field in noise
    ]
    planes = [
        ndimage.map_coordinates(warped[..., c], (y + down, x + right), order=1, mode="reflect")
        for c in range(3)
    ]
    return to_pixels(np.stack(planes, axis=-1) / 255)


def warp_affine(pixels: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Move three points as OpenCV does: positions in 1024ths, then in 32nds of a pixel."""
    back = np.linalg.solve(np.c_[after, np.ones(3)], before)  # from (x, y, 1) to (x, y)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    at_x, at_y = (
        np.floor((np.rint((b * y + c) * 1024) + np.rint(a * x * 1024) + 16) / 32) / 32
        for a, b, c in back.T
    )
    planes = [
        ndimage.map_coordinates(pixels[..., c].astype(float), (at_y, at_x), order=1, mode="mirror")
        for c in range(3)
    ]
    return np.stack(planes, axis=-1)


def share_off(image: np.ndarray, other: np.ndarray) -> float:
    return (np.abs(image.astype(int) - other) > 1).mean()


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("oracle", [defocus_blur, zoom_blur])
def test_what_is_not_random_agrees_within_one(oracle, size, preset):
    name, pixels = oracle.__name__, picture(size)
    for severity in SEVERITIES:
        expected = oracle(pixels, getattr(CORRUPTIONS[name], preset)[severity - 1])
        image = ours(pixels, name, severity, preset)
        assert share_off(image, expected) == 0
        assert (image != expected).mean() < 0.01
        if size != TINY:
            assert share_off(ours(pixels, name, far_from(severity), preset), expected) > 0.02


def draws(name: str, level: tuple, size: tuple[int, int], seed: int) -> tuple:
    """Draw what the corruption `name` is fed with."""
    rng = np.random.default_rng(seed)
    if name == "motion_blur":
        return (rng.uniform(-45, 45),)
    if name == "elastic_transform":
        return rng.uniform(-level[2], level[2], (3, 2)), rng.uniform(-1, 1, (2, *size))
    rows, columns = (max(0, length - 2 * level[1]) for length in size)
    return (rng.integers(-level[1], level[1], (level[2], rows, columns, 2)),)


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("oracle", [motion_blur, glass_blur, elastic_transform])
def test_what_is_random_agrees_when_fed_with_the_same_draws(oracle, size, preset):
    name, pixels = oracle.__name__, picture(size)
    for severity in SEVERITIES:
        level = getattr(CORRUPTIONS[name], preset)[severity - 1]
        fed, others = (draws(name, level, size, seed) for seed in (1, 2))
        apply = getattr(fed_corruptions, name)
        planar = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        expected = oracle(pixels, level, *fed)
        assert share_off(apply(planar, level, *fed).transpose(1, 2, 0), expected) < 0.003
        if size != TINY:
            unfed = apply(planar, level, *others).transpose(1, 2, 0)
            assert share_off(unfed, expected) > 0.02  # it bites
