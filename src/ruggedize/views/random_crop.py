"""Random-resized crops: the draws, and crops of images of one size.

Source: torchvision, `RandomResizedCrop.get_params`; timm, `RandomResizedCropAndInterpolation`
(the same draws, with the interpolation among them): Szegedy et al. 2015, section 6.
"""

import math
from typing import NamedTuple

import numpy as np

from ruggedize.kernels.draws import image_key, integer, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.resample import Boxes, resample
from ruggedize.kernels.types import Images
from ruggedize.views.options import Interpolation, ViewOptions

NUM_TRIES = 10  # boxes drawn until one fits, as in torchvision and timm
FLIP, CUBIC, FIRST_TRY = 0, 1, 2  # counters of an image's draws
DRAWS_PER_TRY = 4  # area, aspect ratio, top, left
CUBIC_SHARE: dict[Interpolation, float] = {"bilinear": 0.0, "bicubic": 1.0, "random": 0.5}


class Rule(NamedTuple):
    """What a box is drawn by, as numbers."""

    scale: tuple[float, float]
    ratio: tuple[float, float]
    flip: float  # probability
    cubic: float  # probability


def rule_of(options: ViewOptions) -> Rule:
    """Return the rule of the options."""
    flip = 0.5 if options.flip else 0.0
    cubic = CUBIC_SHARE[options.interpolation]
    return Rule(options.crop_scale, options.crop_ratio, flip, cubic)


def crop_randomly(
    images: Images, index: np.ndarray, stream: np.uint64, size: int, rule: Rule
) -> Images:
    """Return a random-resized crop of each image; draws depend on stream and index only."""
    height, width = images.shape[2:]
    boxes = new_boxes(len(images))
    fill_boxes(stream, index, (width, height), rule, boxes, (0, len(images)))
    return resample(images, (size, size), boxes)


def new_boxes(n: int) -> Boxes:
    """Allocate boxes for n images."""
    sides = (np.empty(n), np.empty(n), np.empty(n), np.empty(n))
    return Boxes(*sides, np.empty(n, np.bool_), np.empty(n, np.bool_))


@kernel
def fill_boxes(stream, index, size, rule, boxes, span):
    """Draw the boxes span[0]..span[1], for images of one size (width, height)."""
    for i in range(span[0], span[1]):
        key = image_key(stream, index[i])
        boxes.flip[i] = uniform(key, FLIP) < rule.flip
        boxes.cubic[i] = uniform(key, CUBIC) < rule.cubic
        left, top, width, height = box(key, size[0], size[1], rule)
        boxes.left[i], boxes.top[i] = left, top
        boxes.width[i], boxes.height[i] = width, height


@kernel
def box(key, width, height, rule):
    """Draw a box (left, top, width, height) in an image of this size."""
    low, high = math.log(rule.ratio[0]), math.log(rule.ratio[1])
    for attempt in range(NUM_TRIES):
        first = FIRST_TRY + attempt * DRAWS_PER_TRY
        share = rule.scale[0] + (rule.scale[1] - rule.scale[0]) * uniform(key, first)
        ratio = math.exp(low + (high - low) * uniform(key, first + 1))
        columns = round(math.sqrt(width * height * share * ratio))
        rows = round(math.sqrt(width * height * share / ratio))
        if 0 < columns <= width and 0 < rows <= height:
            top = integer(key, first + 2, height - rows + 1)
            left = integer(key, first + 3, width - columns + 1)
            return left, top, columns, rows
    return middle(width, height, rule.ratio)


@kernel
def middle(width, height, ratio):
    """Return the largest box in the middle whose aspect ratio is allowed."""
    columns, rows = width, height
    if width / height < ratio[0]:
        rows = round(width / ratio[0])
    elif width / height > ratio[1]:
        columns = round(height * ratio[1])
    rows, columns = max(1, rows), max(1, columns)
    return (width - columns) // 2, (height - rows) // 2, columns, rows
