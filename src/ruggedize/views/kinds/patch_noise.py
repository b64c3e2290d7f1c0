"""Gaussian noise in a square patch of the image."""

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import bits, image_key, integer, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.views.kinds.additive_noise import LOW_BITS, NOISES, SHIFT, quantiles
from ruggedize.views.noise_options import PatchNoiseOptions

APPLIED, SIDE, STD, CENTRE_Y, CENTRE_X = range(5)  # counters
FIRST_PIXEL = 5


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: PatchNoiseOptions,
) -> None:
    """Write the images to `out`, with noise in a patch of each."""
    np.copyto(out, images)
    largest = max(1, round(options.side * min(images.shape[2:])))
    patch = options.probability, largest, options.std * 255
    values = quantiles("gaussian")

    def block(start: int, stop: int) -> None:
        rows = slice(start, stop)
        add_to_patches(out[rows], index[rows], stream, patch, values)

    run_blocks(block, len(images))


def overlaps(options: PatchNoiseOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that the noise overlaps: the benchmark's noise corruptions."""
    return {"patch_noise": NOISES}


@kernel
def add_to_patches(images, index, stream, patch, quantiles):
    """Add noise to a patch of each image, in place; one hash yields a pixel's three values.

    `patch` is the probability, the largest side in pixels and the largest standard deviation in
    pixel levels.

    Source: Lopes et al. 2019, "Improving robustness without sacrificing accuracy with Patch
    Gaussian augmentation", algorithm 1, with the side and the scale sampled up to their maxima.
    """
    probability, largest, std = patch
    height, width = images.shape[2:]
    for i in range(len(images)):
        key = image_key(stream, index[i])
        if uniform(key, APPLIED) >= probability:
            continue
        side, scale = 1 + integer(key, SIDE, largest), np.float32(uniform(key, STD) * std)
        top = integer(key, CENTRE_Y, height) - side // 2
        left = integer(key, CENTRE_X, width) - side // 2
        for y in range(max(0, top), min(height, top + side)):
            for x in range(max(0, left), min(width, left + side)):
                word = bits(key, FIRST_PIXEL + y * width + x)
                for channel in range(3):
                    value = np.float32(images[i, channel, y, x])
                    value += scale * quantiles[int(word & LOW_BITS)]
                    word >>= SHIFT
                    value = min(max(value, np.float32(0)), np.float32(255))
                    images[i, channel, y, x] = np.uint8(np.int32(value + np.float32(0.5)))
