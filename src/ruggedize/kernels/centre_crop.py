"""The view that a model is tested on: the whole stored image, or its middle."""

import math
from typing import Literal

from ruggedize.kernels.resample import resize_smoothly
from ruggedize.kernels.types import Images, Views
from ruggedize.kernels.warp import resize

LEAST_CROP_PCT = 0.1  # a damaged file could request all memory
TestFilter = Literal["tf", "bilinear", "bicubic"]


def resized_middle(
    images: Images, size: int, crop_pct: float = 1.0, how: TestFilter = "tf"
) -> Views:
    """Resize square images and cut out the middle `size` x `size` pixels.

    Args:
        images: stored images.
        size: side of the views in pixels.
        crop_pct: share of the resized side that is kept: images are resized to
            floor(size / crop_pct), 256 pixels for 224 and 0.875.
        how: "tf" (bilinear, not antialiased, as `tf.image.resize`), or "bilinear" or "bicubic"
            (antialiased, as Pillow).

    Source: timm, `transforms_imagenet_eval`; torchvision's references, `Resize(256)` and
    `CenterCrop(224)`.
    """
    full = math.floor(size / crop_pct)
    if how == "tf":
        resized = resize(images, full)
    else:
        resized = resize_smoothly(images, full, cubic=how == "bicubic")
    if full == size:
        return resized
    first = round((full - size) / 2)  # of halves the even one, as torchvision's CenterCrop
    return resized[:, :, first : first + size, first : first + size].contiguous()
