"""AugMix: the image is mixed with several chains of operations applied to it."""

import math

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import image_key, integer, uniform
from ruggedize.kernels.kernel import kernel
from ruggedize.views import operations
from ruggedize.views.layers import Plan, move_interpolated, move_nearest, new_scratch, recolor
from ruggedize.views.noise_options import AugMixOptions
from ruggedize.views.operations import BILINEAR, BLACK, CORNER

STRICT = (
    operations.AUTO_CONTRAST,
    operations.EQUALIZE,
    operations.POSTERIZE,
    operations.ROTATE,
    operations.SOLARIZE,
    operations.SHEAR_X,
    operations.SHEAR_Y,
    operations.TRANSLATE_X,
    operations.TRANSLATE_Y,
)
OVERLAPPING = (
    operations.COLOR,
    operations.CONTRAST,
    operations.BRIGHTNESS,
    operations.SHARPNESS,
)
SHARE, FIRST_WEIGHT = 0, 1  # counters of an image's draws
MOST_CHAINS, MOST_OPERATIONS = 10, 10  # allowed by the options
FIRST_CHAIN = FIRST_WEIGHT + MOST_CHAINS
LENGTH, FIRST_OPERATION = 0, 1  # offsets within a chain
OPERATION, LEVEL, SIGN = range(3)  # offsets within an operation
DRAWS_PER_OPERATION = 3
DRAWS_PER_CHAIN = FIRST_OPERATION + MOST_OPERATIONS * DRAWS_PER_OPERATION
SMALLEST_STRENGTH = 0.1


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: AugMixOptions,
) -> None:
    """Write the mixed images to `out`."""
    height, width = images.shape[2:]
    codes = STRICT + (OVERLAPPING if options.operations == "all" else ())
    levels = np.zeros((len(codes), 2))
    plan = Plan(np.array(codes, np.int64), levels, 1, 1.0, BLACK, BILINEAR, CORNER)
    settings = options.width, options.depth, float(options.severity)

    def block(start: int, stop: int) -> None:
        scratch, total = new_scratch(1, height, width), np.empty((3, height, width), np.float32)
        rows = slice(start, stop)
        augment_and_mix(
            images[rows], out[rows], index[rows], stream, plan, settings, scratch, total
        )

    run_blocks(block, len(images))


def overlaps(options: AugMixOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that each operation overlaps: none with the paper's own selection."""
    if options.operations == "strict":
        return {}
    return {
        "augmix Color": ("saturate",),
        "augmix Contrast": ("contrast",),
        "augmix Brightness": ("brightness",),
        "augmix Sharpness": ("defocus_blur", "gaussian_blur"),
    }


@kernel
def augment_and_mix(images, out, index, stream, plan, settings, scratch, total):
    """Mix each image with chains of operations; `settings` are width, depth and severity.

    Source: Hendrycks et al. 2020, "AugMix", algorithm 1 and the CIFAR-10 script, with alpha = 1:
    the weights of the chains are Dirichlet(1), the share of the image is Beta(1, 1).
    Deviation: the mixture is rounded to whole pixel values.
    """
    width, depth, severity = settings
    for i in range(len(images)):
        key, weight_sum = image_key(stream, index[i]), 0.0
        for chain in range(width):
            weight_sum += exponential(key, FIRST_WEIGHT + chain)
        share, values, sums = uniform(key, SHARE), images[i].ravel(), total.ravel()
        kept = np.float32(1.0 - share)
        for j in range(sums.size):
            sums[j] = kept * np.float32(values[j])
        for chain in range(width):
            counter = FIRST_CHAIN + chain * DRAWS_PER_CHAIN
            augmented = apply_chain(images[i], key, counter, depth, severity, plan, scratch)
            values = augmented.ravel()
            weight = np.float32(share * exponential(key, FIRST_WEIGHT + chain) / weight_sum)
            for j in range(sums.size):
                sums[j] += weight * np.float32(values[j])
        targets = out[i].ravel()
        for j in range(sums.size):
            targets[j] = np.uint8(np.int32(sums[j] + np.float32(0.5)))


@kernel
def exponential(key, counter):
    """Return a draw from the exponential distribution."""
    return -math.log(1.0 - uniform(key, counter))


@kernel
def apply_chain(image, key, counter, depth, severity, plan, scratch):
    """Apply 1 to `depth` random operations to an image; return the result."""
    source = image
    for number in range(1 + integer(key, counter + LENGTH, depth)):
        first = counter + FIRST_OPERATION + number * DRAWS_PER_OPERATION
        code = plan.codes[integer(key, first + OPERATION, plan.codes.size)]
        strength = SMALLEST_STRENGTH + (severity - SMALLEST_STRENGTH) * uniform(key, first + LEVEL)
        sign = 1.0 if uniform(key, first + SIGN) < 0.5 else -1.0
        side = image.shape[1] if code == operations.TRANSLATE_Y else image.shape[2]
        level = level_of(code, strength / 10.0, sign, side)
        target = scratch.images[number % 2]
        if code < operations.CUTOUT:
            recolor(source, target, code, level, scratch)
        elif code >= operations.TRANSLATE_X:  # by whole pixels, where nothing is interpolated
            move_nearest(source, target, code, level, plan)
        else:
            move_interpolated(source, target, (code, level, False), plan, scratch)
        source = target
    return source


@kernel
def level_of(code, strength, sign, side):
    """Return the level of an operation for a strength in 0..1, as in AugMix's augmentations.py."""
    if code == operations.POSTERIZE:
        return float(4 - int(strength * 4))
    if code == operations.SOLARIZE:
        return float(256 - int(strength * 256))
    if code == operations.ROTATE:
        return sign * int(strength * 30)
    if code == operations.SHEAR_X or code == operations.SHEAR_Y:
        return sign * strength * 0.3
    if code == operations.TRANSLATE_X or code == operations.TRANSLATE_Y:
        return sign * int(strength * (side / 3.0))
    return strength * 1.8 + 0.1
