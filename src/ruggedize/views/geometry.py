"""Geometry of views: random flip, then resizing or padding, then random crop."""

import numpy as np

from ruggedize.kernels.draws import image_key, integer, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.types import Images
from ruggedize.kernels.warp import Placements, pad_and_crop, resize_and_crop
from ruggedize.views.options import ViewOptions

FLIP, TOP, LEFT = 0, 1, 2  # counters of the draws for an image


def apply_geometry(
    images: Images, index: np.ndarray, stream: np.uint64, options: ViewOptions
) -> Images:
    """Return one view of each square image; draws depend only on the stream and image index.

    Padding is black, as in torchvision's `RandomCrop` and most CIFAR recipes.
    """
    image_size = images.shape[2]
    num = num_offsets(image_size, options)
    return placed(images, options, draw_placements(stream, index, options.flip, num))


def placed(images: Images, options: ViewOptions, placements: Placements) -> Images:
    """Return the views that these placements describe."""
    crop = options.input_size(images.shape[2])
    if options.resize is None:
        return pad_and_crop(images, options.pad, crop, placements)
    return resize_and_crop(images, options.resize, crop, placements)


def num_offsets(image_size: int, options: ViewOptions) -> int:
    """Return the number of possible offsets of a crop in each direction."""
    full = options.resize or image_size + 2 * options.pad
    return full - options.input_size(image_size) + 1


def num_geometries(image_size: int, options: ViewOptions) -> int:
    """Return the number of different views of an image: flips times offsets."""
    return (1 + options.flip) * num_offsets(image_size, options) ** 2


def geometry_numbers(
    index: np.ndarray, stream: np.uint64, image_size: int, options: ViewOptions
) -> np.ndarray:
    """Return which of the `num_geometries` views `apply_geometry` makes of each image: int64."""
    num = num_offsets(image_size, options)
    drawn = draw_placements(stream, index, options.flip, num)
    return (drawn.flip * num + drawn.top) * num + drawn.left


def placements_of(number: int, n: int, num_offsets: int) -> Placements:
    """Return the placements that make the view of this number from each of n images."""
    rest, left = divmod(number, num_offsets)
    flip, top = divmod(rest, num_offsets)
    return Placements(np.full(n, bool(flip)), np.full(n, top), np.full(n, left))


def draw_placements(
    stream: np.uint64, index: np.ndarray, flip: bool, num_offsets: int
) -> Placements:
    """Draw a flip (with probability 1/2 if `flip`) and offsets in 0..num_offsets-1 per image."""
    n = len(index)
    placements = Placements(np.zeros(n, np.bool_), np.empty(n, np.int64), np.empty(n, np.int64))
    fill_placements(stream, index, flip, num_offsets, placements)
    return placements


@kernel
def fill_placements(stream, index, flip, num_offsets, placements):
    """Draw the placement of every image; see `draw_placements`."""
    for i in range(index.size):
        key = image_key(stream, index[i])
        placements.flip[i] = flip and uniform(key, FLIP) < 0.5
        placements.top[i] = integer(key, TOP, num_offsets)
        placements.left[i] = integer(key, LEFT, num_offsets)
