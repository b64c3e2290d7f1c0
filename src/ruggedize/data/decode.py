"""Decode image files of any size, mode and orientation into square uint8 images."""

import errno
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import RLock
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import NotRegularError, open_regular
from ruggedize.data.damage import reason_of
from ruggedize.kernels.pictures import (
    REDUCING_GAP,
    Area,
    Fit,
    orientation_of,
    reduced_area,
    square,
    upright_rgb,
    whole,
)

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_MEGAPIXELS = 120.0  # default; phones take pictures of up to 108
LARGE = 16_000_000  # pixels; larger images are decoded one at a time to limit memory use
LONG = 1 << 26  # bytes of a file; longer ones are read one at a time
BYTES_PER_PIXEL = 8  # at most, without compression: RGBA of 16 bits
MAX_METADATA = 1 << 26  # bytes
one_large_image = RLock()
Result = TypeVar("Result")
# Pillow only warns about large images; ours is an error that names the option. Broken EXIF data is
# ignored.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)


class BadImageError(UserError):
    """A file was read, but its content is not a valid image."""


class Stored(NamedTuple):
    """How images are stored: size in pixels, how they are made square, and the limit per file."""

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
        fit: crop keeps the central square; pad adds grey borders to the whole image; squash
            changes the aspect ratio of the whole image.
        max_megapixels: limit above which images are rejected before they are decoded.

    Raises:
        BadImageError: the file is not an image, is damaged, or has too many pixels.
        UserError: the file cannot be read.
    """
    return decode(source, Stored(image_size, fit, max_megapixels))


def decode(source: Path | bytes, stored: Stored) -> UInt8[Tensor, "3 s s"]:
    """Decode a file as `decode_image` does; `stored` holds the options."""
    return read_picture(source, stored, lambda image: torch.from_numpy(squared(image, stored)))


def read_picture(
    source: Path | bytes, stored: Stored, use: Callable[[Image.Image], Result]
) -> Result:
    """Open a file, not decoded yet, and return what `use` makes of it.

    Raises:
        BadImageError: the file is not an image, is damaged, or has too many pixels.
        UserError: the file cannot be read.
    """
    name = "the image" if isinstance(source, bytes) else shown(source)
    try:
        with (
            opened(source) as file,
            alone_if_long(file, stored),
            Image.open(file, formats=FORMATS) as image,
            alone_if_large(image) if image.format == "PNG" else nullcontext(),
        ):  # looking for the EXIF data of a PNG decodes it
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
    """Open a file or its bytes for reading."""
    return io.BytesIO(source) if isinstance(source, bytes) else open_regular(source)


@contextmanager
def alone_if_long(file: io.BytesIO | io.BufferedReader, stored: Stored) -> Iterator[None]:
    """Hold the lock for large images while a long file is read, which WebP is as a whole.

    Raises:
        TooLargeError: the file has more bytes than an image of the allowed number of pixels.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    if length > stored.max_megapixels * 1e6 * BYTES_PER_PIXEL + MAX_METADATA:
        raise TooLargeError(
            f"has {length:,} bytes, more than an image of {stored.max_megapixels:g} megapixels;\n"
            "remove or replace it"
        )
    with one_large_image if length > LONG else nullcontext():
        yield


def alone_if_large(image: Image.Image) -> AbstractContextManager[object]:
    """Return the lock for large images, or nothing if this image is not one of them."""
    return one_large_image if image.width * image.height > LARGE else nullcontext()


class TooLargeError(ValueError):
    """An image has more pixels than may be decoded."""


def squared(image: Image.Image, stored: Stored) -> np.ndarray:
    """Decode, turn upright, make square and resize: uint8 `[3, size, size]`."""
    gap = round(stored.size * REDUCING_GAP)
    return upright(
        image,
        (gap, gap),
        stored,
        lambda decoded, area: square(decoded, stored.size, stored.fit, area),
    )


def upright(
    image: Image.Image,
    least: tuple[int, int],
    stored: Stored,
    use: Callable[[Image.Image, Area], Result],
) -> Result:
    """Decode a picture and return what `use` makes of it, upright and RGB, and of its area.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that has `least` (width, height) pixels.
    """
    pixels = image.width * image.height
    if pixels > stored.max_megapixels * 1e6:
        raise TooLargeError(
            f"must have at most {stored.max_megapixels:g} megapixels, got {pixels / 1e6:.1f};\n"
            f"set data.max_megapixels = {-(-pixels // 1_000_000)} to read it"
        )
    size, orientation = image.size, orientation_of(image)
    drafted = image.draft(None, least)  # pyright: ignore[reportArgumentType]  # None: same mode
    scale = drafted[1][2] / size[0] if drafted else 1.0
    with alone_if_large(image):
        decoded = upright_rgb(image)
        reduced = scale < 1
        area = reduced_area(decoded, scale, size, orientation) if reduced else whole(decoded)
        return use(decoded, area)
