"""Resize, flip, pad and crop in one resampling step that computes only the cropped pixels."""

from typing import NamedTuple

import numpy as np
import torch

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.types import Images


class Placements(NamedTuple):
    """Flips, and positions of the crops in the flipped and resized (or padded) images."""

    flip: np.ndarray  # bool [n], horizontal, applied first
    top: np.ndarray  # int64 [n]
    left: np.ndarray  # int64 [n]


class Taps(NamedTuple):
    """The two source positions of each target position, and the weight of the upper one."""

    lower: np.ndarray  # int64 [size]
    upper: np.ndarray  # int64 [size]
    weight: np.ndarray  # float32 [size], in [0, 1)


def resize(images: Images, size: int | tuple[int, int]) -> Images:
    """Resize to `size` (a side, or height and width); images of that size are returned as they are.

    Bilinear, with half-pixel centres and without antialiasing even when downsampling.

    Source: `tf.image.resize(method="bilinear")`, which the Keras example uses.
    Deviation: the result is rounded to uint8 (halves up), whereas TensorFlow returns floats.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if tuple(images.shape[2:]) == (height, width):
        return images
    return warp(images, (height, width), (height, width), no_placements(len(images)))


def resize_and_crop(images: Images, size: int, crop: int, placements: Placements) -> Images:
    """Flip, resize to `size` x `size` and crop to `crop` x `crop` in one resampling step."""
    if tuple(images.shape[2:]) == (size, size):
        return pad_and_crop(images, 0, crop, placements)
    return warp(images, (size, size), (crop, crop), placements)


def pad_and_crop(images: Images, pad: int, crop: int, placements: Placements) -> Images:
    """Flip, pad each side with `pad` black pixels and crop to `crop` x `crop`; no resampling."""
    source = np.ascontiguousarray(images.numpy())
    out = np.empty((*source.shape[:2], crop, crop), np.uint8)
    run_blocks(
        lambda start, stop: shift_images(source, out, pad, placements, start, stop), len(out)
    )
    return torch.from_numpy(out)


def warp(
    images: Images, size: tuple[int, int], crop: tuple[int, int], placements: Placements
) -> Images:
    """Flip, resize to `size` and crop to `crop`; both are (height, width)."""
    source = np.ascontiguousarray(images.numpy())
    rows, columns = taps(source.shape[2], size[0]), taps(source.shape[3], size[1])
    out = np.empty((*source.shape[:2], *crop), np.uint8)
    run_blocks(
        lambda start, stop: warp_images(source, out, rows, columns, placements, start, stop),
        len(out),
    )
    return torch.from_numpy(out)


def no_placements(n: int) -> Placements:
    """Return placements that neither flip nor shift."""
    return Placements(np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64))


def taps(source: int, target: int) -> Taps:
    """Return the taps that resize a side from `source` to `target` pixels.

    The centre of target pixel x lies at (x + 1/2) source / target - 1/2, which is computed exactly.
    """
    numerator = (2 * np.arange(target) + 1) * source - target
    floor, remainder = np.divmod(numerator, 2 * target)
    return Taps(
        np.clip(floor, 0, source - 1),
        np.clip(floor + 1, 0, source - 1),
        (remainder / (2 * target)).astype(np.float32),
    )


@kernel
def warp_images(source, out, rows, columns, placements, start, stop):
    """Flip, resize and crop images start..stop-1."""
    last = source.shape[3] - 1
    width = out.shape[3]
    lines = np.empty((2, width), np.float32)
    near = np.empty(width, np.int64)
    far = np.empty(width, np.int64)
    for i in range(start, stop):
        top, left = placements.top[i], placements.left[i]
        for x in range(width):
            lower, upper = columns.lower[left + x], columns.upper[left + x]
            near[x] = last - lower if placements.flip[i] else lower
            far[x] = last - upper if placements.flip[i] else upper
        weight = columns.weight[left : left + width]
        for c in range(source.shape[1]):
            warp_plane(source[i, c], out[i, c], rows, top, near, far, weight, lines)


@kernel
def warp_plane(source, out, rows, top, near, far, weight, lines):
    """Interpolate one plane: each source row once horizontally, then vertically between two."""
    held = (-1, -1)  # which source rows the two lines hold: an even and an odd one
    for y in range(out.shape[0]):
        lower, upper = rows.lower[top + y], rows.upper[top + y]
        for row in (lower, upper):
            if held[row & 1] != row:
                interpolate_row(source[row], lines[row & 1], near, far, weight)
                held = (row, held[1]) if row & 1 == 0 else (held[0], row)
        blend_rows(lines[lower & 1], lines[upper & 1], rows.weight[top + y], out[y])


@kernel
def interpolate_row(source, out, near, far, weight):
    """Interpolate along a row of pixels."""
    for x in range(out.size):
        first = np.float32(source[near[x]])
        out[x] = first + (np.float32(source[far[x]]) - first) * weight[x]


@kernel
def blend_rows(first, second, weight, out):
    """Interpolate between two rows and round."""
    for x in range(out.size):
        value = first[x] + (second[x] - first[x]) * weight
        out[x] = np.uint8(np.int32(value + np.float32(0.5)))


@kernel
def shift_images(source, out, pad, placements, start, stop):
    """Flip, pad with black and crop images start..stop-1."""
    height = source.shape[2]
    for i in range(start, stop):
        top, left = placements.top[i] - pad, placements.left[i] - pad
        for c in range(source.shape[1]):
            for y in range(out.shape[2]):
                row = min(max(top + y, 0), height - 1)
                inside = row == top + y
                shift_row(source[i, c, row], out[i, c, y], left, placements.flip[i], inside)


@kernel
def shift_row(source, out, left, flip, inside):
    """Copy the part of a row that starts at `left`; pixels outside the image are black."""
    width = source.size
    for x in range(out.size):
        column = left + x
        if inside and 0 <= column < width:
            out[x] = source[width - 1 - column if flip else column]
        else:
            out[x] = 0
