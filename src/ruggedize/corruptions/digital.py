"""Pixelation and JPEG compression."""

import numpy as np

from ruggedize.kernels.filters import box_windows, resize_by_boxes
from ruggedize.kernels.jpeg import CHROMA, LUMA, quantisation
from ruggedize.kernels.kernel import kernel


def with_boxes(scale: float, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Prepare the pixelation: the windows for scaling down and back up."""
    low_height, low_width = max(1, int(height * scale)), max(1, int(width * scale))
    down = box_windows(width, low_width), box_windows(height, low_height)
    return (*down, box_windows(low_width, width), box_windows(low_height, height))


@kernel
def pixelate_block(images, out, columns_down, rows_down, columns_up, rows_up):
    """Scale images down and back up with PIL's box filter."""
    _, channels, height, width = images.shape
    low = np.empty((len(rows_down), len(columns_down)), np.uint8)
    narrow = np.empty((height, len(columns_down)), np.uint8)
    wide = np.empty((len(rows_down), width), np.uint8)
    for i in range(len(images)):
        for c in range(channels):
            resize_by_boxes(images[i, c], columns_down, rows_down, narrow, low)
            resize_by_boxes(low, columns_up, rows_up, wide, out[i, c])


def with_quantisation(quality: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Prepare the JPEG compression: the quantisation tables for luma and chroma."""
    return quantisation(LUMA, quality), quantisation(CHROMA, quality)
