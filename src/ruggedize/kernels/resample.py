"""Antialiased resizing of a box of an image, as PIL's `crop(box).resize(size)` within one level.

Source: PIL, `Resample.c`: triangle (bilinear) and Keys' cubic with a = -0.5 (bicubic), both as
wide as a target pixel where the image becomes smaller.
Deviation: always the vertical pass first, which is the cheaper one here; its values are clipped to
0..255 as PIL's are, but not rounded. PIL chooses the order by size and version. With bicubic a
clipped overshoot therefore differs by more than one level in places; with bilinear there is none.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.types import Images

LINEAR_REACH, CUBIC_REACH = 1.0, 2.0  # of the filters, in pixels of the smaller image
CUBIC_A = -0.5
WHITE = np.float32(255)


class Boxes(NamedTuple):
    """What is cut out of each image, in pixels, and how it is resized."""

    left: np.ndarray  # float64 [n]; fractions as in PIL's `resize(box=...)`
    top: np.ndarray  # float64 [n]
    width: np.ndarray  # float64 [n]
    height: np.ndarray  # float64 [n]
    flip: np.ndarray  # bool [n]: mirrored horizontally
    cubic: np.ndarray  # bool [n]: bicubic, else bilinear


class Taps(NamedTuple):
    """The source pixels of each target pixel of a line, and their weights."""

    first: np.ndarray  # int64 [size]
    number: np.ndarray  # int64 [size]: of source pixels
    weights: np.ndarray  # float32 [size, largest count]


def resample(images: Images, size: tuple[int, int], boxes: Boxes) -> Images:
    """Cut a box out of each image and resize it to `size` (height, width), in threads."""
    source = np.ascontiguousarray(images.numpy())
    out = np.empty((*source.shape[:2], *size), np.uint8)
    run_blocks(
        lambda start, stop: resample_images(source, out, boxes, start, stop), len(out), smallest=1
    )
    return torch.from_numpy(out)


def resize_smoothly(images: Images, size: int, *, cubic: bool = False) -> Images:
    """Resize whole images to `size` x `size`; images of that size are returned unchanged."""
    height, width = images.shape[2:]
    if (height, width) == (size, size):
        return images
    return resample(images, (size, size), whole_boxes(len(images), height, width, cubic))


def whole_boxes(n: int, height: int, width: int, cubic: bool) -> Boxes:
    """Return boxes of whole images, not flipped."""
    zeros, sides = np.zeros(n), (np.full(n, float(width)), np.full(n, float(height)))
    return Boxes(zeros, zeros, *sides, np.zeros(n, np.bool_), np.full(n, cubic))


@kernel
def resample_images(images, out, boxes, start, stop):
    """Resample the images start..stop: planar, uint8 `[n, 3, h, w]`."""
    for i in range(start, stop):
        source, target = images[i], out[i]
        box = boxes.left[i], boxes.top[i], boxes.width[i], boxes.height[i]
        columns, rows = both_taps(box, source.shape[1:], target.shape[1:], boxes.cubic[i])
        line = np.empty(source.shape[2], np.float32)
        for channel in range(target.shape[0]):
            for y in range(target.shape[1]):
                blend_rows(source[channel], rows, y, line)
                resample_plane(line, columns, boxes.flip[i], target[channel, y])


@kernel
def resample_pixels(pixels, out, box, flip, cubic):
    """Resample a box (left, top, width, height) of interleaved pixels `[h, w, 3]` to planes."""
    height, width = pixels.shape[:2]
    columns, rows = both_taps(box, (height, width), out.shape[1:], cubic)
    lines = pixels.reshape(height, width * 3)
    line = np.empty(width * 3, np.float32)
    for y in range(out.shape[1]):
        blend_rows(lines, rows, y, line)
        resample_colors(line, columns, flip, out[:, y])


@kernel
def both_taps(box, source, target, cubic):
    """Return the taps of columns and rows for a box; sizes are (height, width)."""
    left, top, width, height = box
    columns = taps(source[1], left, width, target[1], cubic)
    return columns, taps(source[0], top, height, target[0], cubic)


@kernel
def blend_rows(lines, rows, y, out):
    """Compute the weighted sum of the source rows of target row y, clipped to 0..255."""
    out[:] = np.float32(0)
    for tap in range(rows.number[y]):
        line, weight = lines[rows.first[y] + tap], rows.weights[y, tap]
        for x in range(out.size):
            out[x] += np.float32(line[x]) * weight
    for x in range(out.size):
        out[x] = min(max(out[x], np.float32(0)), WHITE)


@kernel
def resample_plane(line, columns, flip, out):
    """Resample a line of one channel."""
    for x in range(out.size):
        value, first = np.float32(0), columns.first[x]
        for tap in range(columns.number[x]):
            value += line[first + tap] * columns.weights[x, tap]
        out[out.size - 1 - x if flip else x] = rounded(value)


@kernel
def resample_colors(line, columns, flip, out):
    """Resample a line of interleaved pixels to three lines `[3, width]`."""
    width = out.shape[1]
    for x in range(width):
        red = green = blue = np.float32(0)
        at = np.uint64(3 * columns.first[x])
        weights = columns.weights[x]
        for tap in range(columns.number[x]):
            weight = weights[tap]
            red += line[at] * weight
            green += line[at + np.uint64(1)] * weight
            blue += line[at + np.uint64(2)] * weight
            at += np.uint64(3)
        to = width - 1 - x if flip else x
        out[0, to], out[1, to], out[2, to] = rounded(red), rounded(green), rounded(blue)


@kernel
def rounded(value):
    """Return the nearest level, halves up."""
    return np.uint8(np.int32(min(max(value, np.float32(0)), WHITE) + np.float32(0.5)))


@kernel
def taps(source, start, length, size, cubic):
    """Return the taps that resize the pixels `start..start + length` of a line to `size`.

    Pixels beside them do not matter, as if they had been cut off.

    Source: PIL, `precompute_coeffs`.
    """
    scale = length / size
    widened = max(scale, 1.0)
    support = (CUBIC_REACH if cubic else LINEAR_REACH) * widened
    lowest, highest = math.floor(start), min(source, math.ceil(start + length))
    first, count = np.empty(size, np.int64), np.empty(size, np.int64)
    weights = np.zeros((size, 2 * math.ceil(support) + 1), np.float32)
    for x in range(size):
        centre = start + (x + 0.5) * scale
        low = max(lowest, math.floor(centre - support + 0.5))
        high = min(highest, math.floor(centre + support + 0.5))
        total = 0.0
        for tap in range(high - low):
            total += response((low + tap - centre + 0.5) / widened, cubic)
        for tap in range(high - low):
            weights[x, tap] = response((low + tap - centre + 0.5) / widened, cubic) / total
        first[x], count[x] = low, high - low
    return Taps(first, count, weights)


@kernel
def response(distance, cubic):
    """Return the filter's value at a distance from the centre."""
    x = abs(distance)
    if not cubic:
        return max(0.0, 1.0 - x)
    if x < 1:
        return ((CUBIC_A + 2) * x - (CUBIC_A + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * CUBIC_A if x < 2 else 0.0
