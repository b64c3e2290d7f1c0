"""Kernels of RandAugment: draw operations, signs and interpolation for each image; apply them."""

from typing import NamedTuple

import numpy as np

from ruggedize.kernels import affine, color, interpolation
from ruggedize.kernels.draws import image_key, integer, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.views import operations

DRAWS_PER_LAYER = 8  # fixed, so that adding a layer does not change the draws of earlier ones
OPERATION, APPLIED, SIGN, CUBIC, CENTRE_Y, CENTRE_X = range(6)


class Plan(NamedTuple):
    """Numeric form of RandAugment for given semantics, magnitude and image size."""

    codes: np.ndarray  # int64 [k]
    levels: np.ndarray  # float64 [k, 2]: for the signs + and -
    num_layers: int
    probability: float
    fill: int
    interpolation: int
    shear_origin: float


class Scratch(NamedTuple):
    """Work memory for one block of images."""

    codes: np.ndarray  # int64 [num_layers], drawn for one image
    levels: np.ndarray  # float64 [num_layers]
    cubic: np.ndarray  # bool [num_layers]
    images: np.ndarray  # uint8 [2, 3, h, w]: outputs of alternating layers
    turned: np.ndarray  # uint8 [2, 3, w, h]: transposed images
    padded: np.ndarray  # float32 [3, h + 4, w + 4]
    grey: np.ndarray  # uint8 [h, w]
    line: np.ndarray  # float32 [max(h, w) + 4]
    counts: np.ndarray  # int32 [4, 256]
    table: np.ndarray  # uint8 [256]


def new_scratch(num_layers: int, height: int, width: int) -> Scratch:
    """Allocate work memory for images of the given size."""
    margin = 2 * interpolation.MARGIN
    return Scratch(
        np.empty(num_layers, np.int64),
        np.empty(num_layers, np.float64),
        np.empty(num_layers, np.bool_),
        np.empty((2, 3, height, width), np.uint8),
        np.empty((2, 3, width, height), np.uint8),
        np.empty((3, height + margin, width + margin), np.float32),
        np.empty((height, width), np.uint8),
        np.empty(max(height, width) + margin, np.float32),
        np.empty((4, 256), np.int32),
        np.empty(256, np.uint8),
    )


@kernel
def augment(images, out, index, stream, plan, scratch):
    """Augment images one by one; the last operation on each image writes to `out`."""
    for i in range(len(images)):
        key = image_key(stream, index[i])
        remaining = draw_operations(key, plan, scratch)
        source = images[i]
        if remaining == 0:
            color.copy(source, out[i])
        for layer in range(plan.num_layers):
            code, level = scratch.codes[layer], scratch.levels[layer]
            if code == operations.IDENTITY:
                continue
            remaining -= 1
            target = out[i] if remaining == 0 else scratch.images[remaining % 2]
            if code < operations.CUTOUT:
                recolor(source, target, code, level, scratch)
            elif code == operations.CUTOUT:
                cut_out(source, target, int(level), key, layer * DRAWS_PER_LAYER)
            elif plan.interpolation == operations.NEAREST:
                move_nearest(source, target, code, level, plan)
            else:
                move = code, level, scratch.cubic[layer]
                move_interpolated(source, target, move, plan, scratch)
            source = target


@kernel
def draw_operations(key, plan, scratch):
    """Draw the operation of each layer; return the number of layers that change the image."""
    remaining = 0
    for layer in range(plan.num_layers):
        counter = layer * DRAWS_PER_LAYER
        row = integer(key, counter + OPERATION, plan.codes.size)
        skipped = uniform(key, counter + APPLIED) >= plan.probability
        scratch.codes[layer] = operations.IDENTITY if skipped else plan.codes[row]
        scratch.levels[layer] = plan.levels[row, 0 if uniform(key, counter + SIGN) < 0.5 else 1]
        scratch.cubic[layer] = plan.interpolation == operations.BICUBIC or (
            plan.interpolation == operations.BILINEAR_OR_BICUBIC
            and uniform(key, counter + CUBIC) < 0.5
        )
        remaining += scratch.codes[layer] != operations.IDENTITY
    return remaining


@kernel
def recolor(source, out, code, level, scratch):
    """Apply an operation that changes only colours."""
    if code == operations.AUTO_CONTRAST:
        color.auto_contrast(source, out, scratch.table)
    elif code == operations.EQUALIZE:
        color.equalize(source, out, scratch.counts, scratch.table)
    elif code == operations.INVERT:
        color.invert(source, out)
    elif code == operations.POSTERIZE:
        color.posterize(source, out, int(level))
    elif code == operations.SOLARIZE:
        color.solarize(source, out, level, scratch.table)
    elif code == operations.SOLARIZE_ADD:
        color.solarize_add(source, out, int(level), scratch.table)
    elif code == operations.COLOR:
        color.color(source, out, level, scratch.grey)
    elif code == operations.SHARPNESS:
        color.sharpness(source, out, level)
    else:
        color.blend_with(source, out, degenerate(source, code, scratch.grey), level)


@kernel
def degenerate(source, code, grey):
    """Return the value that Contrast and Brightness blend with."""
    if code == operations.CONTRAST:
        return color.mean_grey(source, grey)
    if code == operations.CONTRAST_ABOUT_AREA:
        return color.area_as_grey(source)
    return 0


@kernel
def cut_out(source, out, half, key, counter):
    """Fill a square with grey; its centre is uniform over the image's pixels."""
    height, width = source.shape[1:]
    y = integer(key, counter + CENTRE_Y, height)
    x = integer(key, counter + CENTRE_X, width)
    color.copy(source, out)
    for channel in range(3):
        for row in range(max(0, y - half), min(height, y + half)):
            for column in range(max(0, x - half), min(width, x + half)):
                out[channel, row, column] = operations.GREY


@kernel
def move_nearest(source, out, code, level, plan):
    """Shear, translate or rotate with nearest-neighbour sampling."""
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    if code == operations.SHEAR_X:
        b, c = level, -level * plan.shear_origin
    elif code == operations.SHEAR_Y:
        d, f = level, -level * plan.shear_origin
    elif code == operations.TRANSLATE_X:
        c = level
    elif code == operations.TRANSLATE_Y:
        f = level
    else:
        a, b, c, d, e, f = affine.rotation(level, source.shape[1], source.shape[2])
    affine.sample_nearest(source, out, (a, b, c, d, e, f), plan.fill)


@kernel
def move_interpolated(source, out, move, plan, scratch):
    """Shear, translate or rotate with bilinear or bicubic interpolation."""
    code, level, cubic = move
    if code == operations.ROTATE:
        matrix = affine.rotation(level, source.shape[1], source.shape[2])
        interpolation.sample_interpolated(source, out, matrix, cubic, plan.fill, scratch.padded)
        return
    shears = code in (operations.SHEAR_X, operations.SHEAR_Y)
    slope = level if shears else 0.0
    offset = -level * plan.shear_origin if shears else level
    if code in (operations.SHEAR_X, operations.TRANSLATE_X):
        interpolation.slide_rows(source, out, offset, slope, cubic, plan.fill, scratch.line)
    else:
        interpolation.slide_columns(
            source, out, offset, slope, cubic, plan.fill, scratch.line, scratch.turned
        )
