"""RandAugment as a link of the chain of noise."""

import numpy as np

from ruggedize.views.augment import randaugment_into
from ruggedize.views.options import RandAugmentOptions

BLURS = ("defocus_blur", "gaussian_blur")
BOTH_WAYS = ("torchvision", "timm-inc1")  # their enhancements also weaken
NEUTRAL_MAGNITUDE = 5  # of 10: from here on tf's and timm's sharpness never smooths


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: RandAugmentOptions,
) -> None:
    """Write the augmented images."""
    randaugment_into(images, out, index, stream, options)


def overlaps(options: RandAugmentOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that each operation overlaps."""
    # tf-2021 blends with a grey that is far from the mean, so its contrast brightens too.
    brightens = ("brightness",) if options.semantics == "tf-2021" else ()
    shared = {
        "randaugment Brightness": ("brightness",),
        "randaugment Color": ("saturate",),
        "randaugment Contrast": ("contrast", *brightens),
    }
    if options.semantics in BOTH_WAYS or options.magnitude < NEUTRAL_MAGNITUDE:
        shared["randaugment Sharpness"] = BLURS
    return shared
