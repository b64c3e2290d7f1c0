"""The blurs."""

import numpy as np

from evenkeel.images.filters import filter_both_ways, gaussian_taps
from evenkeel.images.kernel import kernel
from evenkeel.images.truncation import truncated


def with_taps(sigma: float, height: int, width: int) -> tuple[np.ndarray]:
    """Prepare the Gaussian blur; `sigma` in pixels."""
    return (gaussian_taps(sigma),)


@kernel
def gaussian_blur_block(images, out, taps):
    """Blur by a Gaussian, edges replicated.

    Source: scikit-image's `gaussian` with its defaults: cut at 4 standard deviations.
    """
    _, channels, height, width = images.shape
    line = np.empty(width + len(taps) - 1, np.float32)
    blurred = np.empty((height, width), np.float32)
    for i in range(len(images)):
        for c in range(channels):
            filter_both_ways(images[i, c], taps, line, blurred)
            for y in range(height):
                for x in range(width):
                    out[i, c, y, x] = truncated(blurred[y, x])
