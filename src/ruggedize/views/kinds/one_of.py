"""One of several kinds of noise, drawn for each image."""

import numpy as np

from ruggedize.kernels.draws import image_key, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.views.noise_chain import apply_link, member_stream
from ruggedize.views.options import OneOfOptions


def apply(
    images: np.ndarray, out: np.ndarray, index: np.ndarray, stream: np.uint64, options: OneOfOptions
) -> None:
    """Write the images to `out`, each with the kind of noise that was drawn for it."""
    chosen = choices(index, stream, options)
    for number, member in enumerate(options.one_of):
        (rows,) = np.nonzero(chosen == number)
        part = np.empty_like(images, shape=(len(rows), *images.shape[1:]))
        own = member_stream(stream, options, number)
        apply_link(images[rows], part, index[rows], own, member)
        out[rows] = part


def choices(index: np.ndarray, stream: np.uint64, options: OneOfOptions) -> np.ndarray:
    """Return the position of each image's kind in `one_of`: int64 `[n]`."""
    weights = np.array(options.weights or [1.0] * len(options.one_of))
    bounds = np.cumsum(weights / weights.sum())[:-1]
    return np.searchsorted(bounds, uniforms(index, stream), side="right")


@kernel
def uniforms(index, stream):
    """Return one uniform number in [0, 1) for each image."""
    numbers = np.empty(index.size, np.float64)
    for i in range(index.size):
        numbers[i] = uniform(image_key(stream, index[i]), 0)
    return numbers
