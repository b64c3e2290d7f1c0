"""Resizing with Pillow and centre crops, as most models were evaluated with."""

from typing import Literal

import numpy as np
import torch
from PIL import Image

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.types import Images, Views

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]


def resize_square(images: Images, size: int, interpolation: Interpolation) -> Views:
    """Resize images `[n, 3, h, w]` to squares with Pillow on all cores.

    Images that already have this size are returned as they are.
    """
    if tuple(images.shape[2:]) == (size, size):
        return images
    resample = Image.Resampling[interpolation.upper()]
    pixels = images.numpy()
    out = np.empty((len(images), 3, size, size), np.uint8)

    def resize(first: int, last: int) -> None:
        for number in range(first, last):
            image = Image.fromarray(np.ascontiguousarray(pixels[number].transpose(1, 2, 0)))
            out[number] = np.asarray(image.resize((size, size), resample)).transpose(2, 0, 1)

    run_blocks(resize, len(images), smallest=1)
    return torch.from_numpy(out)


def crop_middle(images: Images, size: int) -> Views:
    """Crop the central square of `size` pixels.

    Source: `CenterCrop` of torchvision and timm, which rounds half offsets to even.
    """
    height, width = images.shape[2:]
    top, left = (round((side - size) / 2) for side in (height, width))
    return images[:, :, top : top + size, left : left + size].contiguous()
