"""Decode image files of any size, mode and orientation into square uint8 images."""

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
LARGEST_IMAGE = 80_000_000  # pixels; a tiny file can declare a huge image (decompression bomb)
REDUCING_GAP = 2.0  # large images are first reduced cheaply to twice the final size (Pillow)


class BadImageError(UserError):
    """The content of a file is not a valid image, as opposed to a file that cannot be read."""


def list_images(path: Path) -> list[Path]:
    """Return an image file, or all image files below a folder, sorted."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{shown(path)} does not exist; give an image file or a folder of images")
    return [path / os.fsdecode(name) for name in image_names(path)]


def image_names(folder: Path) -> list[bytes]:
    """Return the sorted paths of all image files below a folder, relative to it, with `/`.

    Hidden files and folders are skipped.
    """
    visible = visible_files(folder)
    names = [name for name in visible if name.lower().endswith(ENDINGS)]
    if not names:
        raise UserError(f"{shown(folder)} contains no images; add some ({' '.join(SUFFIXES)})")
    if len(visible) > len(names):
        logging.getLogger(__name__).warning(
            "%s: ignored %d files; only %s are read",
            shown(folder),
            len(visible) - len(names),
            " ".join(SUFFIXES),
        )
    return sorted(names)


def visible_files(folder: Path) -> list[bytes]:
    """Return the paths of all files at any depth, relative to the folder.

    Pipes, sockets and devices are skipped: reading one may block. Broken links are included.
    """
    names: list[bytes] = []
    pending = [b""]  # folders still to list, relative to `folder`, each with a trailing slash
    while pending:
        start = pending.pop()
        with os.scandir(os.path.join(os.fsencode(folder), start)) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(start + entry.name + b"/")
                elif entry.is_file() or (entry.is_symlink() and not entry.is_dir()):
                    names.append(start + entry.name)
    return names


def decode_image(source: Path | bytes, image_size: int) -> UInt8[Tensor, "3 s s"]:
    """Decode a file (or its bytes) as RGB: crop the central square and resize with antialiasing.

    Only the first frame of an animation is used. The EXIF orientation is applied, transparent
    pixels are blended with white, and colour profiles are ignored.

    Raises:
        BadImageError: the file is not an image, or is damaged.
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
            raise UserError(f"{name} has been removed; load the data again") from error
        raise BadImageError(f"{name} is a broken link; remove it") from error
    except Exception as error:  # decoders raise all kinds of errors on broken files
        if isinstance(error, OSError) and error.errno is not None:  # decoders set none
            raise UserError(
                f"{name} cannot be read ({error.strerror}); make it readable and try again"
            ) from error
        raise BadImageError(f"{name} cannot be decoded ({error}); remove or replace it") from error


def middle_square(image: Image.Image, size: int) -> np.ndarray:
    """Decode an image, apply its orientation, crop the central square and resize it.

    Returns uint8 `[3, size, size]`.
    """
    if image.width * image.height > LARGEST_IMAGE:
        raise ValueError(
            f"{image.width} x {image.height} pixels, at most {LARGEST_IMAGE:,} allowed"
        )
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
