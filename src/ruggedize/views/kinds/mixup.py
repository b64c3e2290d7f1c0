"""Mixup: the image is blended with another, and so is its label."""

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import uniforms
from ruggedize.kernels.kernel import kernel
from ruggedize.views.noise_options import MixUpOptions
from ruggedize.views.partners import Partners, symmetric_beta

APPLIED, PARTNER, SHARE = range(3)  # counters


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: MixUpOptions,
    partners: Partners,
) -> None:
    """Write the blended images to `out`."""
    chosen = partners.drawn(stream, index, PARTNER)
    shares = partner_shares(index, stream, options, images.shape[2]).astype(np.float32)
    others = partners.images.numpy()

    def block(start: int, stop: int) -> None:
        rows = slice(start, stop)
        blend(images[rows], out[rows], others, chosen[rows], shares[rows])

    run_blocks(block, len(images))


def partner_shares(
    index: np.ndarray, stream: np.uint64, options: MixUpOptions, side: int
) -> np.ndarray:
    """Return the share of the partner in each image and in its label: float64 `[n]`."""
    shares = 1 - symmetric_beta(uniforms(stream, index, SHARE), options.alpha)
    return np.where(uniforms(stream, index, APPLIED) < options.probability, shares, 0.0)


def overlaps(options: MixUpOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that the noise overlaps: none."""
    return {}


@kernel
def blend(images, out, others, chosen, shares):
    """Blend each image with its partner.

    Source: Zhang et al. 2018, "mixup", section 2.
    Deviation: partners come from a fixed pool instead of the same batch; pixels are rounded.
    """
    for i in range(len(images)):
        share, kept = shares[i], np.float32(1) - shares[i]
        values, partner, targets = images[i].ravel(), others[chosen[i]].ravel(), out[i].ravel()
        for j in range(targets.size):
            value = kept * np.float32(values[j]) + share * np.float32(partner[j])
            targets[j] = np.uint8(np.int32(value + np.float32(0.5)))
