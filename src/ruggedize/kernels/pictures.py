"""Conversion of Pillow images to RGB and to the square size that models are trained on."""

from typing import Literal

import numpy as np
from PIL import Image, ImageOps

STRIP = 1 << 20  # pixels that are converted at a time
REDUCING_GAP = 2.0  # Pillow first reduces large images cheaply, to twice the final size
PADDING = (128, 128, 128)  # grey padding for `fit = "pad"`
Fit = Literal["crop", "pad", "squash"]


def upright_rgb(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation and convert any mode to 8-bit RGB.

    Large images are converted in strips: a conversion makes several copies, which would take
    gigabytes for a whole image.
    """
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rows = max(1, STRIP // max(1, image.width))
    if image.height <= rows:
        return to_rgb(image)
    converted = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        converted.paste(to_rgb(strip), (0, top))
    return converted


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
        return from_16_bit(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def from_16_bit(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8-bit RGB; the transparent level becomes white."""
    levels, transparent = np.asarray(image), image.info.get("transparency")
    scaled = np.rint(np.clip(levels.astype(np.float32), 0, 65535) / np.float32(257))
    if isinstance(transparent, int):
        scaled[levels == transparent] = 255
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")


def square(upright: Image.Image, size: int, fit: Fit) -> np.ndarray:
    """Make an RGB image square according to `fit` and resize it: uint8 `[3, size, size]`."""
    width, height = upright.size
    box, inner = (0, 0, width, height), (size, size)
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    elif fit == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = upright.resize(inner, Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP)
    if inner != (size, size):
        square = Image.new("RGB", (size, size), PADDING)
        square.paste(small, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        small = square
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
