"""Conversion of Pillow images to RGB and to the square size that models are trained on."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

BRIGHTEST = 255  # of 8 bits
STRIP = 1 << 20  # pixels that are converted at a time
REDUCING_GAP = 2.0  # Pillow first reduces large images cheaply, to twice the final size
PADDING = (128, 128, 128)  # grey padding for `fit = "pad"`
Fit = Literal["crop", "pad", "squash"]
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # of EXIF; these exchange width and height
FROM_RIGHT, FROM_BOTTOM = (2, 3, 6, 7), (3, 4, 7, 8)  # a file's last pixels are upright left, top


class Area(NamedTuple):
    """The part of a decoded image that the picture covers.

    A JPEG that is decoded at a fraction of its size has rows or columns that it covers in part: at
    1/8, 385 pixels become 49, of which it covers 48.125.
    """

    left: float  # in decoded pixels
    top: float
    scale: float  # decoded pixels per pixel of the picture
    width: int  # of the upright picture in full size
    height: int


def whole(picture: Image.Image) -> Area:
    """Return the area of an upright picture that was decoded at its full size."""
    return Area(0, 0, 1, *picture.size)


def reduced_area(
    decoded: Image.Image, scale: float, size: tuple[int, int], orientation: int
) -> Area:
    """Return the area of an upright JPEG that was decoded at `scale`.

    `size` and `orientation` are those of the file.
    """
    width, height = upright_size(size, orientation)
    left = decoded.width - scale * width if orientation in FROM_RIGHT else 0
    top = decoded.height - scale * height if orientation in FROM_BOTTOM else 0
    return Area(left, top, scale, width, height)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; a PNG is decoded for this."""
    return image.getexif().get(ORIENTATION, 1)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the width and height that a picture of this size has when it is upright."""
    return (size[1], size[0]) if orientation in TURNED else size


def upright_rgb(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation and convert any mode to 8-bit RGB.

    Large images are converted in strips: a conversion makes several copies, which would take
    gigabytes for a whole image.
    """
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F":
        raise ValueError("images of floating-point numbers have no known range;\nconvert to 8 bits")
    if image.mode == "I" and (levels := np.asarray(image)).max() <= BRIGHTEST:
        image = Image.fromarray(levels.clip(0, BRIGHTEST).astype(np.uint8))  # not black 16-bit ones
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


def upright_copy(image: Image.Image) -> Image.Image:
    """Return what `upright_rgb` does, and leave the caller's image as it is."""
    is_turned = orientation_of(image) != 1
    return upright_rgb(ImageOps.exif_transpose(image) if is_turned else image)


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


def square(
    upright: Image.Image, size: int, fit: Fit, area: Area | None = None
) -> UInt8[np.ndarray, "3 s s"]:
    """Make an RGB image square according to `fit` and resize it.

    Args:
        upright: the image.
        size: side of the square in pixels.
        fit: as in `decode_image`.
        area: the part of the image that the picture covers; default: all of it.
    """
    first_x, first_y, scale, width, height = area or whole(upright)
    left, top, inner = 0, 0, (size, size)
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        width = height = side
    elif fit == "pad":
        ratio = size / max(width, height)
        inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    first_x, first_y = first_x + scale * left, first_y + scale * top
    box = (first_x, first_y, first_x + scale * width, first_y + scale * height)
    small = upright.resize(inner, Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP)
    if inner != (size, size):
        square = Image.new("RGB", (size, size), PADDING)
        square.paste(small, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        small = square
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
