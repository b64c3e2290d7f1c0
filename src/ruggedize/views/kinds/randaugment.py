"""RandAugment as a kind of noise."""

import numpy as np

from ruggedize.views.augment import randaugment_into
from ruggedize.views.noise_options import RandAugmentOptions

BLURS = ("defocus_blur", "gaussian_blur")
BOTH_WAYS = ("torchvision", "timm-inc1")  # enhancement factors are drawn above or below 1
NEUTRAL_MAGNITUDE = 5  # of 10; from here on, Sharpness never smooths in "tf" and "timm"


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: RandAugmentOptions,
) -> None:
    """Write the augmented images to `out`."""
    randaugment_into(images, out, index, stream, options)


def overlaps(options: RandAugmentOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that each operation overlaps."""
    # Contrast in tf-2021 blends with a grey far from the mean, which also changes the brightness.
    brightens = ("brightness",) if options.semantics == "tf-2021" else ()
    overlapping = {
        "randaugment Brightness": ("brightness",),
        "randaugment Color": ("saturate",),
        "randaugment Contrast": ("contrast", *brightens),
    }
    if options.semantics in BOTH_WAYS or options.magnitude < NEUTRAL_MAGNITUDE:
        overlapping["randaugment Sharpness"] = BLURS
    return overlapping
