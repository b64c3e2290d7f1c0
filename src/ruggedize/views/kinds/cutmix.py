"""CutMix: a rectangle of another image is pasted, and the label is mixed by its area."""

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import uniforms
from ruggedize.kernels.kernel import kernel
from ruggedize.views.noise_options import CutMixOptions
from ruggedize.views.partners import Partners, symmetric_beta

APPLIED, PARTNER, KEPT = range(3)  # counters
CENTRE = 3, 4


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: CutMixOptions,
    partners: Partners,
) -> None:
    """Write the images to `out`, some of them with a rectangle of another."""
    np.copyto(out, images)
    chosen = partners.drawn(stream, index, PARTNER)
    boxes, others = rectangles(index, stream, options, images.shape[2]), partners.images.numpy()

    def block(start: int, stop: int) -> None:
        rows = slice(start, stop)
        paste(out[rows], others, chosen[rows], boxes[rows])

    run_blocks(block, len(images))


def partner_shares(
    index: np.ndarray, stream: np.uint64, options: CutMixOptions, side: int
) -> np.ndarray:
    """Return the share of the partner in each image and in its label: float64 `[n]`."""
    top, bottom, left, right = rectangles(index, stream, options, side).T
    return (bottom - top) * (right - left) / side**2


def overlaps(options: CutMixOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that the noise overlaps: none."""
    return {}


def rectangles(
    index: np.ndarray, stream: np.uint64, options: CutMixOptions, side: int
) -> np.ndarray:
    """Return the rectangle of each image, empty if none is pasted: int64 `[n, 4]`.

    Source: Yun et al. 2019, "CutMix", equation 2 and the published script: the centre is uniform
    in the image, and what lies beyond its edges is cut off.
    Deviation: partners come from a fixed pool instead of the same batch.
    """
    kept = symmetric_beta(uniforms(stream, index, KEPT), options.alpha)
    half = (side * np.sqrt(1 - kept)).astype(np.int64) // 2
    half[uniforms(stream, index, APPLIED) >= options.probability] = 0
    centres = [(uniforms(stream, index, counter) * side).astype(np.int64) for counter in CENTRE]
    edges = [(centre + sign * half).clip(0, side) for centre in centres for sign in (-1, 1)]
    return np.stack(edges, axis=1)


@kernel
def paste(images, others, chosen, boxes):
    """Copy each image's rectangle from its partner, in place."""
    for i in range(len(images)):
        top, bottom, left, right = boxes[i]
        for channel in range(3):
            for y in range(top, bottom):
                for x in range(left, right):
                    images[i, channel, y, x] = others[chosen[i], channel, y, x]
