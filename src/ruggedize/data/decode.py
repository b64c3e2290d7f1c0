"""Image files into square uint8 pictures, whatever their size, mode and orientation."""

import io
import logging
import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ruggedize.core.errors import UserError, shown

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
ENDINGS = tuple(suffix.encode() for suffix in SUFFIXES)
LARGEST_IMAGE = 80_000_000  # pixels; a file of a few bytes can claim to hold far more
REDUCING_GAP = 2.0  # large images first shrink cheaply to twice the size, then smoothly


class BadImageError(UserError):
    """A file was read and holds no image; one that cannot be read now may hold one."""


def list_images(path: Path) -> list[Path]:
    """Return an image file, or all those below a folder, in an order that never changes."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{shown(path)} does not exist; give an image file or a folder of images")
    return [path / os.fsdecode(name) for name in image_names(path)]


def image_names(folder: Path) -> list[bytes]:
    """Name all image files below a folder, sorted, relative to it and with `/` between the parts.

    Hidden files and folders are left out.
    """
    found = visible_files(folder)
    names = [name for name in found if name.lower().endswith(ENDINGS)]
    if not names:
        raise UserError(f"{shown(folder)} holds no images; add some ({' '.join(SUFFIXES)})")
    if len(found) > len(names):
        logging.getLogger(__name__).warning(
            "%s: files ignored: %d; only %s are read",
            shown(folder),
            len(found) - len(names),
            " ".join(SUFFIXES),
        )
    return sorted(names)


def visible_files(folder: Path) -> list[bytes]:
    """Name all files at any depth, relative to the folder.

    Pipes and the like are left out: reading one may never end. A link that leads nowhere is named.
    """
    names: list[bytes] = []
    waiting = [b""]  # folders to look into, relative to `folder`, each with its slash
    while waiting:
        start = waiting.pop()
        with os.scandir(os.path.join(os.fsencode(folder), start)) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(start + entry.name + b"/")
                elif entry.is_file() or (entry.is_symlink() and not entry.is_dir()):
                    names.append(start + entry.name)
    return names


def decode_image(source: Path | bytes, image_size: int) -> UInt8[Tensor, "3 s s"]:
    """Read a file (or its bytes) as RGB: the middle square, resized with antialiasing.

    Animations give their first frame; the picture is turned as its EXIF data say; transparency
    is laid on white; colour profiles are not applied.

    Raises:
        BadImageError: the file holds no image, or a damaged one.
        UserError: the file cannot be read.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    name = "the image" if isinstance(source, bytes) else shown(source)
    try:
        with Image.open(file, formats=FORMATS) as image:
            return torch.from_numpy(middle_square(image, image_size))
    except UnidentifiedImageError as error:
        raise BadImageError(f"{name} is not a PNG, JPEG, WebP or BMP image; convert it") from error
    except MemoryError:
        raise
    except FileNotFoundError as error:
        if not (isinstance(source, Path) and source.is_symlink()):
            raise UserError(f"{name} is no longer there; load the data again") from error
        raise BadImageError(f"{name} is a link that leads nowhere; remove it") from error
    except Exception as error:  # broken files make decoders fail in every way there is
        if isinstance(error, OSError) and error.errno is not None:  # a decoder's bear no number
            raise UserError(
                f"{name} cannot be read ({error.strerror}); make it readable, and try again"
            ) from error
        raise BadImageError(f"{name} cannot be decoded ({error}); remove or replace it") from error


def middle_square(image: Image.Image, size: int) -> np.ndarray:
    """Decode, turn upright, cut out the middle square and resize it: uint8 `[3, size, size]`."""
    if image.width * image.height > LARGEST_IMAGE:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {LARGEST_IMAGE:,}")
    gap = round(size * REDUCING_GAP)
    image.draft(None, (gap, gap))  # pyright: ignore[reportArgumentType]  # None keeps the mode
    upright = to_rgb(ImageOps.exif_transpose(image))
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    resized = upright.resize(
        (size, size),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
        reducing_gap=REDUCING_GAP,
    )
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
        levels = np.clip(np.asarray(image, np.float64), 0, 65535) / 257
        return Image.fromarray(np.rint(levels).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
