"""Pictures of Pillow: to RGB, and to the square of one size that a model is trained on."""

from typing import Literal

import numpy as np
from PIL import Image, ImageOps

STRIP = 1 << 20  # pixels of a 16-bit image that are converted together
REDUCING_GAP = 2.0  # large images are first reduced cheaply to twice the final size (Pillow)
PADDING = (128, 128, 128)  # beside images with `fit = "pad"`
Fit = Literal["crop", "pad", "squash"]


def upright_rgb(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation and convert any mode to 8-bit RGB."""
    return to_rgb(ImageOps.exif_transpose(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
        return from_16_bit(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def from_16_bit(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8-bit RGB, strip by strip; the transparent level becomes white."""
    levels, transparent = np.asarray(image), image.info.get("transparency")
    grey = np.empty(levels.shape, np.uint8)
    rows = max(1, STRIP // max(1, image.width))
    for top in range(0, image.height, rows):
        strip = levels[top : top + rows]
        scaled = np.rint(np.clip(strip.astype(np.float32), 0, 65535) / np.float32(257))
        if isinstance(transparent, int):
            scaled[strip == transparent] = 255
        grey[top : top + rows] = scaled
    return Image.fromarray(grey).convert("RGB")


def square(upright: Image.Image, size: int, fit: Fit) -> np.ndarray:
    """Make an RGB image square as `fit` says and resize it: uint8 `[3, size, size]`."""
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
