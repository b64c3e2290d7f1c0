"""Random erasing: a rectangle of the image is overwritten."""

import math

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import image_key, integer, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.views.noise_options import RandomErasingOptions

GREY = 128
NUM_TRIES = 10  # rectangles drawn until one fits, as torchvision does
DRAWS_PER_TRY = 4
FIRST_FILL = 1 + NUM_TRIES * DRAWS_PER_TRY  # counter of the first fill value


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: RandomErasingOptions,
) -> None:
    """Write the images to `out`, some of them with an erased rectangle."""
    np.copyto(out, images)
    probability, area, aspect = options.probability, options.area, options.aspect
    random_fill = options.fill == "noise"

    def block(start: int, stop: int) -> None:
        erase(out, index, stream, probability, area, aspect, random_fill, start, stop)

    run_blocks(block, len(images))


def overlaps(options: RandomErasingOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that the noise overlaps: `impulse_noise` if the fill is random."""
    return {"random_erasing": ("impulse_noise",)} if options.fill == "noise" else {}


@kernel
def erase(images, index, stream, probability, area, aspect, random_fill, start, stop):
    """Overwrite a rectangle in some of the images start..stop-1, in place.

    Source: Zhong et al. 2020, "Random Erasing Data Augmentation", algorithm 1.
    Deviation, as in torchvision: the logarithm of the aspect ratio is uniform, so that tall and
    wide rectangles are equally likely; an image is unchanged if none of ten rectangles fits.
    """
    height, width = images.shape[2:]
    for i in range(start, stop):
        key = image_key(stream, index[i])
        if uniform(key, 0) >= probability:
            continue
        top, left, rows, columns = rectangle(key, height, width, area, aspect)
        for c in range(images.shape[1]):
            for y in range(top, top + rows):
                for x in range(left, left + columns):
                    draw = FIRST_FILL + (c * height + y) * width + x
                    images[i, c, y, x] = integer(key, draw, 256) if random_fill else GREY


@kernel
def rectangle(key, height, width, area, aspect):
    """Draw a rectangle (top, left, rows, columns); it is empty if no try fits the image."""
    for attempt in range(NUM_TRIES):
        first = 1 + attempt * DRAWS_PER_TRY
        size = height * width * (area[0] + (area[1] - area[0]) * uniform(key, first))
        low, high = math.log(aspect[0]), math.log(aspect[1])
        ratio = math.exp(low + (high - low) * uniform(key, first + 1))
        rows, columns = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
        if rows <= height and columns <= width:
            top = integer(key, first + 2, height - rows + 1)
            left = integer(key, first + 3, width - columns + 1)
            return top, left, rows, columns
    return 0, 0, 0, 0
