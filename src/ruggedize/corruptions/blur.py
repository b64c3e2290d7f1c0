"""Gaussian blur, defocus blur and motion blur, which convolve images with one filter."""

import numpy as np

from ruggedize.kernels.disk import centred_boxes, disk, filter_by_boxes
from ruggedize.kernels.draws import image_key, uniform
from ruggedize.kernels.filters import filter_both_ways, gaussian_taps
from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.motion import motion_blur, motion_weights
from ruggedize.kernels.truncation import truncated

LARGEST_ANGLE = 45.0


def with_taps(sigma: float, height: int, width: int) -> tuple[np.ndarray]:
    """Prepare the Gaussian blur; `sigma` is in pixels."""
    return (gaussian_taps(sigma),)


@kernel
def gaussian_blur(plane, out, taps, line, blurred):
    """Blur a plane with a Gaussian filter, replicating edges.

    `line` and `blurred` are work memory for `filter_both_ways`.
    """
    filter_both_ways(plane, taps, line, blurred)
    truncate_all(blurred, out)


@kernel
def truncate_all(values, out):
    """Convert a plane of floats to uint8."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = truncated(values[y, x])


@kernel
def gaussian_blur_block(images, out, taps):
    """Blur images with a Gaussian filter, replicating edges.

    Source: scikit-image's `gaussian` with its defaults, truncated at 4 standard deviations.
    """
    _, channels, height, width = images.shape
    line = np.empty(width + len(taps) - 1, np.float32)
    blurred = np.empty((height, width), np.float32)
    for i in range(len(images)):
        for c in range(channels):
            gaussian_blur(images[i, c], out[i, c], taps, line, blurred)


def with_disk(level: tuple[float, float], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Prepare the defocus blur; `level` is (radius, softness of the edge), in pixels."""
    radius, softness = level
    return centred_boxes(disk(radius, softness))


@kernel
def defocus_blur_block(images, out, places, weights):
    """Convolve images with a soft-edged disk, mirroring image edges."""
    _, channels, height, width = images.shape
    sums = np.empty((height + 1, width + 2 * places[:, 1].max() + 1), np.float32)
    blurred = np.empty((height, width), np.float32)
    for i in range(len(images)):
        for c in range(channels):
            filter_by_boxes(images[i, c], places, weights, sums[:-1], sums[-1], blurred)
            truncate_all(blurred, out[i, c])


def with_motion(level: tuple[float, float], height: int, width: int) -> tuple[np.ndarray]:
    """Prepare the motion blur; `level` is (radius, sigma), in pixels."""
    radius, sigma = level
    return (motion_weights(radius, sigma),)


@kernel
def motion_blur_block(images, out, weights, stream, indices):
    """Blur each image at a random angle in -45..45 degrees."""
    _, channels, height, width = images.shape
    rows = np.empty((height, width + 2 * len(weights)), np.float32)
    line = np.empty(width, np.float32)
    for i in range(len(images)):
        angle = (2.0 * uniform(image_key(stream, indices[i]), 0) - 1.0) * LARGEST_ANGLE
        for c in range(channels):
            motion_blur(images[i, c], out[i, c], weights, angle, rows, line)
