"""Corruptions against slow and obvious ones, on photographs' constants and odd sizes."""

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ruggedize.corruptions import CORRUPTIONS, corrupt
from ruggedize.corruptions.names import SEVERITIES
from ruggedize.kernels.filters import box_windows

SIZES = [(40, 56), (45, 37), (96, 96), (8, 8)]


def picture(size: tuple[int, int]) -> np.ndarray:
    """A gradient with strong colours and grain: uint8 `[h, w, 3]`; a black, a white, a grey."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    planes = np.stack([255 * x, 255 * (1 - y), 127 + 127 * np.sin(9 * x * y)], axis=-1)
    values = np.clip(planes + rng.normal(0, 20, planes.shape), 0, 255).astype(np.uint8)
    values[0, 0], values[0, 1], values[0, 2] = 0, 255, 77
    return values


def ours(pixels: np.ndarray, name: str, severity: int, preset) -> np.ndarray:
    images = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
    return corrupt(images, name, severity, preset=preset)[0].numpy().transpose(1, 2, 0)


def far_from(severity: int) -> int:
    return 5 if severity <= 2 else 1


def jpeg_compression(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def pixelate(pixels: np.ndarray, scale: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    low = Image.fromarray(pixels).resize((int(width * scale), int(height * scale)), Image.BOX)
    return np.array(low.resize((width, height), Image.BOX))


def gaussian_blur(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return to_pixels(ndimage.gaussian_filter(pixels / 255, (sigma, sigma, 0), mode="nearest"))


def contrast(pixels: np.ndarray, factor: float) -> np.ndarray:
    mean = (pixels / 255).mean(axis=(0, 1))
    return to_pixels((pixels / 255 - mean) * factor + mean)


def brightness(pixels: np.ndarray, addition: float) -> np.ndarray:
    return through_hsv(pixels, lambda h, s, v: (h, s, min(v + addition, 1.0)))


def saturate(pixels: np.ndarray, level: tuple[float, float]) -> np.ndarray:
    scale, shift = level
    return through_hsv(pixels, lambda h, s, v: (h, min(s * scale + shift, 1.0), v))


def through_hsv(pixels: np.ndarray, change) -> np.ndarray:
    colours = [
        colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*colour)))
        for colour in pixels.reshape(-1, 3) / 255
    ]
    return to_pixels(np.array(colours)).reshape(pixels.shape)


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Truncate as the official script does, but for rounding errors of up to 0.001."""
    return (np.clip(values, 0, 1) * 255 + 1e-3).astype(np.uint8)


ORACLES = {
    oracle.__name__: oracle
    for oracle in (jpeg_compression, pixelate, gaussian_blur, contrast, brightness, saturate)
}


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["jpeg_compression", "pixelate"])
def test_what_pil_does_in_whole_numbers_is_done_exactly(name: str, size, preset):
    pixels = picture(size)
    for severity in SEVERITIES:
        expected = ORACLES[name](pixels, getattr(CORRUPTIONS[name], preset)[severity - 1])
        assert np.array_equal(ours(pixels, name, severity, preset), expected)
        assert not np.array_equal(ours(pixels, name, far_from(severity), preset), expected)


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["gaussian_blur", "contrast", "brightness", "saturate"])
def test_what_is_done_in_floats_agrees_within_one(name: str, size, preset):
    pixels = picture(size)
    for severity in SEVERITIES:
        expected = ORACLES[name](pixels, getattr(CORRUPTIONS[name], preset)[severity - 1])
        off = np.abs(ours(pixels, name, severity, preset).astype(int) - expected)
        assert off.max() <= 1
        assert (off > 0).mean() < 0.002
        other = ours(pixels, name, far_from(severity), preset).astype(int)
        assert (np.abs(other - expected) > 1).mean() > 0.02  # it bites


def test_the_windows_of_the_box_filter_are_pil_s():
    for size in range(1, 41):
        impulses = Image.fromarray(np.eye(size, dtype=np.uint8) * 255)
        for new_size in range(1, 41):
            theirs = np.array(impulses.resize((new_size, size), Image.BOX))
            assert np.array_equal(shares(box_windows(size, new_size), size), theirs)
    assert not np.array_equal(shares(box_windows(40, 39), 40), theirs[:, 1:])  # it bites


def shares(windows: np.ndarray, size: int) -> np.ndarray:
    """Return what a white pixel at each place adds to each new pixel."""
    added = np.zeros((size, len(windows)), np.uint8)
    for new, (first, count, weight) in enumerate(windows):
        added[first : first + count, new] = (255 * weight + (1 << 21)) >> 22
    return added
