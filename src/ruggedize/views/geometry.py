"""The geometry of a view: random flip, then resize and random crop, or pad and random crop."""

import numpy as np

from ruggedize.kernels.draws import image_key, integer, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.types import Images
from ruggedize.kernels.warp import Placements, pad_and_crop, resize_and_crop
from ruggedize.views.options import ViewOptions

FLIP, TOP, LEFT = 0, 1, 2  # counters of an image's draws


def apply_geometry(
    images: Images, index: np.ndarray, stream: np.uint64, options: ViewOptions
) -> Images:
    """Return one view of each square image; draws depend on stream and image index only.

    Padding is black, as in torchvision's `RandomCrop` and most CIFAR recipes.
    """
    image_size = images.shape[2]
    full = options.resize or image_size + 2 * options.pad
    crop = options.input_size(image_size)
    placements = draw_placements(stream, index, options.flip, full - crop + 1)
    if options.resize is None:
        return pad_and_crop(images, options.pad, crop, placements)
    return resize_and_crop(images, options.resize, crop, placements)


def draw_placements(
    stream: np.uint64, index: np.ndarray, flip: bool, num_offsets: int
) -> Placements:
    """Draw each image's flip (probability 1/2, if `flip`) and crop offsets (0..num_offsets-1)."""
    n = len(index)
    placements = Placements(np.zeros(n, np.bool_), np.empty(n, np.int64), np.empty(n, np.int64))
    fill_placements(stream, index, flip, num_offsets, placements)
    return placements


@kernel
def fill_placements(stream, index, flip, num_offsets, placements):
    """Draw every image's placement."""
    for i in range(index.size):
        key = image_key(stream, index[i])
        placements.flip[i] = flip and uniform(key, FLIP) < 0.5
        placements.top[i] = integer(key, TOP, num_offsets)
        placements.left[i] = integer(key, LEFT, num_offsets)
