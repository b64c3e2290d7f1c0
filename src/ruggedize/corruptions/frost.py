"""Frost: a frost texture blended over the image."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from ruggedize.corruptions.frost_photographs import (
    check_photographs,
    frost_folder,
    load_photographs,
)
from ruggedize.corruptions.procedural import grown_pictures
from ruggedize.kernels.draws import image_key, integer
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.truncation import truncated

PHOTOGRAPHS = "photographs"  # value of the option `textures`; the other value is procedural
Textures = tuple[np.ndarray, ...]


def check(options: Mapping[str, str]) -> None:
    """Raise UserError if the photographs are needed but missing."""
    if options["textures"] == PHOTOGRAPHS:
        check_photographs(frost_folder())


def with_textures(
    level: tuple[float, float, float], height: int, width: int, textures: str = PHOTOGRAPHS
) -> tuple[float, float, Textures]:
    """Prepare the frost; `level` is (image weight, frost weight, scale of the textures)."""
    weight, frost_weight, scale = level
    folder = frost_folder() if textures == PHOTOGRAPHS else None
    return float(weight), float(frost_weight), scaled_pictures(folder, scale, height, width)


@lru_cache(maxsize=4)
def scaled_pictures(folder: Path | None, scale: float, height: int, width: int) -> Textures:
    """Scale the photographs of a folder, or the procedural textures: uint8 `[3, h, w]` each.

    A texture is enlarged if it is too small to crop an image of this size from it.
    """
    pictures = grown_pictures() if folder is None else load_photographs(folder)
    scaled = []
    for picture in pictures:
        _, rows, columns = picture.shape
        min_scale = max(scale, (height + 1) / rows, (width + 1) / columns)
        scaled.append(resized(picture, min_scale))
    return tuple(scaled)


def resized(picture: np.ndarray, scale: float) -> np.ndarray:
    """Resize by linear interpolation at pixel centres, without antialiasing.

    Source: OpenCV's `resize` with its defaults; the results are identical at scales 0.2 and 1.
    """
    values = picture.astype(np.float32)
    for axis in (1, 2):
        size = picture.shape[axis]
        centres = (np.arange(round(size * scale)) + 0.5) / scale - 0.5
        places = np.clip(centres, 0, size - 1).astype(np.float32)
        lower = places.astype(int)
        share = (places - lower).reshape((-1, 1) if axis == 1 else (1, -1))
        upper = np.minimum(lower + 1, size - 1)
        values = values.take(lower, axis) * (1 - share) + values.take(upper, axis) * share
    return (values + 0.5).astype(np.uint8)


@kernel
def frost_block(images, out, weight, frost_weight, textures, stream, indices):
    """Add frost to the images with these `indices`."""
    height, width = images.shape[2:]
    for i in range(len(images)):
        key = image_key(stream, indices[i])
        texture = textures[integer(key, 0, len(textures))]
        top = integer(key, 1, texture.shape[1] - height)
        left = integer(key, 2, texture.shape[2] - width)
        frost(images[i], out[i], texture, top, left, weight, frost_weight)


@kernel
def frost(source, out, texture, top, left, weight, frost_weight):
    """Blend an image with the crop of a texture that starts at (top, left)."""
    height, width = source.shape[1:]
    for c in range(3):
        for y in range(height):
            ice = texture[c, top + y]
            for x in range(width):
                value = weight * source[c, y, x] + frost_weight * ice[left + x]
                out[c, y, x] = truncated(value)
