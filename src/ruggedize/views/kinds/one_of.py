"""One of several kinds of noise, drawn for each image."""

import numpy as np

from ruggedize.kernels.draws import uniforms
from ruggedize.views.noise_chain import apply_link, member_stream
from ruggedize.views.noise_options import CustomNoise
from ruggedize.views.options import OneOfOptions
from ruggedize.views.partners import Partners


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: OneOfOptions,
    partners: Partners | None,
) -> None:
    """Write the images to `out`, each with the kind of noise that was drawn for it."""
    chosen = choices(index, stream, options)
    for number, member in enumerate(options.one_of):
        (rows,) = np.nonzero(chosen == number)
        if not len(rows) and isinstance(member, CustomNoise):
            continue  # built-in kinds load their kernels
        part = np.empty_like(images, shape=(len(rows), *images.shape[1:]))
        own = member_stream(stream, options, number)
        apply_link(images[rows], part, index[rows], own, member, partners)
        out[rows] = part


def choices(index: np.ndarray, stream: np.uint64, options: OneOfOptions) -> np.ndarray:
    """Return the position of each image's kind in `one_of`: int64 `[n]`."""
    weights = np.array(options.weights or [1.0] * len(options.one_of))
    bounds = np.cumsum(weights / weights.sum())[:-1]
    return np.searchsorted(bounds, uniforms(stream, index, 0), side="right")
