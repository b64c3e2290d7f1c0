"""Apply batch functions to tensors, arrays and Pillow images."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from ruggedize.kernels.inputs import as_images
from ruggedize.kernels.types import Images

Picture = TypeVar("Picture", Tensor, np.ndarray, Image.Image)
SINGLE = 3  # dimensions of one image as a tensor or an array


def changed(images: Picture, change: Callable[[Images], Images]) -> Picture:
    """Apply a function of batches to a batch, one image or a Pillow image; return the same kind.

    Args:
        images: uint8 RGB, a tensor on the CPU or an array, `[n, 3, h, w]` or `[3, h, w]`, or a
            Pillow image. Not modified.
        change: maps `[n, 3, h, w]` to a new tensor.
    """
    if isinstance(images, list | tuple):
        raise ValueError(
            "images must be one tensor, one array or one Pillow image, got a list;\n"
            "stack its images, or transform them one by one"
        )
    if isinstance(images, np.ndarray):
        return in_batch(images, change).numpy()
    if isinstance(images, Tensor):
        return in_batch(images, change)
    result = change(as_images(images))
    return Image.fromarray(np.ascontiguousarray(result[0].permute(1, 2, 0).numpy()))


def in_batch(images: Tensor | np.ndarray, change: Callable[[Images], Images]) -> Tensor:
    """Apply a function of batches to a batch, or to one image as a batch of its own."""
    if images.ndim != SINGLE:
        return change(as_images(images).as_subclass(Tensor))
    return change(as_images(images[None]).as_subclass(Tensor))[0]
