"""Decode image files of any size, mode and orientation into square uint8 images."""

import errno
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import NotRegularError, open_regular
from ruggedize.data.damage import reason_of
from ruggedize.kernels.pictures import REDUCING_GAP, Fit, square, upright_rgb

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_MEGAPIXELS = 120.0  # by default: phones make pictures of 108
LARGE = 16_000_000  # pixels; larger images are decoded one at a time, to bound the memory
one_large_image = Lock()
Result = TypeVar("Result")
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
    return read_picture(source, lambda image: torch.from_numpy(squared(image, stored)))


def read_picture(source: Path | bytes, use: Callable[[Image.Image], Result]) -> Result:
    """Open a file, not decoded yet, and return what `use` makes of it.

    Raises:
        BadImageError: the file is not an image, is damaged, or has too many pixels.
        UserError: the file cannot be read.
    """
    name = "the image" if isinstance(source, bytes) else shown(source)
    try:
        with opened(source) as file, Image.open(file, formats=FORMATS) as image:
            return use(image)
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
    gap = round(stored.size * REDUCING_GAP)
    return upright(
        image, (gap, gap), stored, lambda decoded: square(decoded, stored.size, stored.fit)
    )


def upright(
    image: Image.Image,
    least: tuple[int, int],
    stored: Stored,
    use: Callable[[Image.Image], Result],
) -> Result:
    """Decode a picture and return what `use` makes of it, upright and RGB.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that has `least` (width, height) pixels.
    """
    pixels = image.width * image.height
    if pixels > stored.max_megapixels * 1e6:
        raise TooLargeError(
            f"has {pixels / 1e6:.1f} megapixels, more than {stored.max_megapixels:g};\n"
            f"set data.max_megapixels = {-(-pixels // 1_000_000)} to read it"
        )
    image.draft(None, least)  # pyright: ignore[reportArgumentType]  # None keeps the mode
    if image.width * image.height <= LARGE:
        return use(upright_rgb(image))
    with one_large_image:
        return use(upright_rgb(image))
