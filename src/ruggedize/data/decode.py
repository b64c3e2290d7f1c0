"""Decode image files of any size, mode and orientation into square uint8 images."""

import errno
import io
import warnings
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import NotRegularError, open_regular
from ruggedize.data.damage import reason_of

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_MEGAPIXELS = 120.0  # by default: phones make pictures of 108
LARGE = 16_000_000  # pixels; larger images are decoded one at a time, to bound the memory
REDUCING_GAP = 2.0  # large images are first reduced cheaply to twice the final size (Pillow)
STRIP = 1 << 20  # pixels that are converted together
PADDING = (128, 128, 128)  # beside images with `fit = "pad"`
Fit = Literal["crop", "pad", "squash"]
one_large_image = Lock()
# Pillow's own limit is a warning, ours an error that names the option; broken EXIF data are skipped
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)


class BadImageError(UserError):
    """The content of a file is not a valid image, as opposed to a file that cannot be read."""


class Stored(NamedTuple):
    """The size and shape in which images are kept, and the limit on the pixels of a file."""

    size: int
    fit: Fit = "crop"
    max_megapixels: float = MAX_MEGAPIXELS


def decode_image(
    source: Path | bytes,
    image_size: int,
    *,
    fit: Fit = "crop",
    max_megapixels: float = MAX_MEGAPIXELS,
) -> UInt8[Tensor, "3 s s"]:
    """Decode a file (or its bytes) as RGB, make it square and resize it with antialiasing.

    Only the first frame of an animation is used. The EXIF orientation is applied, transparent
    pixels are blended with white, and colour profiles are ignored.

    Args:
        source: a PNG, JPEG, WebP or BMP file, or its bytes.
        image_size: side of the square in pixels.
        fit: crop keeps the middle square; pad keeps the whole image, with grey beside it; squash
            keeps the whole image and changes its aspect ratio.
        max_megapixels: larger images are rejected before they are decoded.

    Raises:
        BadImageError: the file is not an image, is damaged, or has too many pixels.
        UserError: the file cannot be read.
    """
    return decode(source, Stored(image_size, fit, max_megapixels))


def decode(source: Path | bytes, stored: Stored) -> UInt8[Tensor, "3 s s"]:
    """Decode a file as `decode_image` does, with its options in one object."""
    name = "the image" if isinstance(source, bytes) else shown(source)
    try:
        with opened(source) as file, Image.open(file, formats=FORMATS) as image:
            return torch.from_numpy(squared(image, stored))
    except MemoryError:
        raise
    except FileNotFoundError as error:
        if not (isinstance(source, Path) and source.is_symlink()):
            raise UserError(f"{name} has been removed; load the data again") from error
        raise BadImageError(f"{name} is a broken link; remove it") from error
    except NotRegularError as error:
        raise BadImageError(str(error)) from None
    except TooLargeError as error:
        raise BadImageError(f"{name} {error}") from None
    except Exception as error:  # decoders raise all kinds of errors on broken files
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise BadImageError(f"{name} is a link to itself; remove it") from error
        if isinstance(error, OSError) and error.errno is not None:  # decoders set none
            raise UserError(
                f"{name} cannot be read ({error.strerror}); make it readable and try again"
            ) from error
        if reason := reason_of(source):
            raise BadImageError(f"{name} {reason}") from error
        if isinstance(error, UnidentifiedImageError):
            message = f"{name} is not a PNG, JPEG, WebP or BMP image; convert it"
            raise BadImageError(message) from error
        raise BadImageError(f"{name} cannot be decoded ({error}); remove or replace it") from error


def opened(source: Path | bytes) -> io.BytesIO | io.BufferedReader:
    """Open a file, or its bytes, for reading."""
    return io.BytesIO(source) if isinstance(source, bytes) else open_regular(source)


class TooLargeError(ValueError):
    """An image has more pixels than may be decoded."""


def squared(image: Image.Image, stored: Stored) -> np.ndarray:
    """Decode, turn upright, make square and resize: uint8 `[3, size, size]`."""
    pixels = image.width * image.height
    if pixels > stored.max_megapixels * 1e6:
        raise TooLargeError(
            f"has {pixels / 1e6:.1f} megapixels, more than {stored.max_megapixels:g};\n"
            f"set data.max_megapixels = {-(-pixels // 1_000_000)} to read it"
        )
    gap = round(stored.size * REDUCING_GAP)
    image.draft(None, (gap, gap))  # pyright: ignore[reportArgumentType]  # None keeps the mode
    if image.width * image.height <= LARGE:
        return resized(upright_rgb(image), stored)
    with one_large_image:
        return resized(upright_rgb(image), stored)


def resized(upright: Image.Image, stored: Stored) -> np.ndarray:
    """Make an RGB image square as `fit` says and resize it: uint8 `[3, size, size]`."""
    size, (width, height) = stored.size, upright.size
    box, inner = (0, 0, width, height), (size, size)
    if stored.fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    elif stored.fit == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = upright.resize(inner, Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP)
    if inner != (size, size):
        square = Image.new("RGB", (size, size), PADDING)
        square.paste(small, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        small = square
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF data say and convert it to 8-bit RGB, strip by strip.

    Conversions need several copies of what they convert; whole ones of large images would take
    gigabytes.
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
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
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
