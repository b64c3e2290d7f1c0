"""Frost: ice on the window before the image."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from ruggedize.corruptions.photographs import check_photographs, frost_folder, load_photographs
from ruggedize.corruptions.procedural import grown_pictures
from ruggedize.kernels.draws import image_key, integer
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.truncation import truncated

PHOTOGRAPHS = "photographs"  # as the value of the option `textures`; else procedural ones
Textures = tuple[np.ndarray, ...]


def check(options: Mapping[str, str]) -> None:
    """Raise a UserError if the photographs are wanted and not there."""
    if options["textures"] == PHOTOGRAPHS:
        check_photographs(frost_folder())


def with_textures(
    level: tuple[float, float, float], height: int, width: int, textures: str = PHOTOGRAPHS
) -> tuple[float, float, Textures]:
    """Prepare the frost; a level is image weight, frost weight and the scale of the pictures."""
    weight, frost_weight, scale = level
    folder = frost_folder() if textures == PHOTOGRAPHS else None
    return float(weight), float(frost_weight), scaled_pictures(folder, scale, height, width)


@lru_cache(maxsize=4)
def scaled_pictures(folder: Path | None, scale: float, height: int, width: int) -> Textures:
    """Scale the photographs of a folder, or the procedural pictures: uint8 `[3, h, w]` each.

    A picture from which an image of this size could not be cut is enlarged until it can.
    """
    pictures = grown_pictures() if folder is None else load_photographs(folder)
    scaled = []
    for picture in pictures:
        _, rows, columns = picture.shape
        enough = max(scale, (height + 1) / rows, (width + 1) / columns)
        scaled.append(resized(picture, enough))
    return tuple(scaled)


def resized(picture: np.ndarray, scale: float) -> np.ndarray:
    """Interpolate linearly at the new pixels' centres, without smoothing before.

    Source: OpenCV's `resize` with its defaults; equal to it at the scale 0.2 and at 1.
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
    """Freeze images with these `indices`."""
    height, width = images.shape[2:]
    for i in range(len(images)):
        key = image_key(stream, indices[i])
        texture = textures[integer(key, 0, len(textures))]
        top = integer(key, 1, texture.shape[1] - height)
        left = integer(key, 2, texture.shape[2] - width)
        frost(images[i], out[i], texture, top, left, weight, frost_weight)


@kernel
def frost(source, out, texture, top, left, weight, frost_weight):
    """Add the part of a texture that begins at (top, left)."""
    height, width = source.shape[1:]
    for c in range(3):
        for y in range(height):
            ice = texture[c, top + y]
            for x in range(width):
                value = weight * source[c, y, x] + frost_weight * ice[left + x]
                out[c, y, x] = truncated(value)
