"""The noise of the noisy view: a chain of kinds, and what it has in common with the benchmark."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from ruggedize.images import noise as kernels
from ruggedize.images.blocks import run_blocks
from ruggedize.images.types import Images
from ruggedize.seeding import stream_key
from ruggedize.views.augment import randaugment_into
from ruggedize.views.options import (
    AdditiveNoiseOptions,
    NoiseOptions,
    RandAugmentOptions,
    RandomErasingOptions,
)

NOISES = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")
BLURS = ("defocus_blur", "gaussian_blur")
BOTH_WAYS = ("torchvision", "timm-inc1")  # their enhancements also weaken
NEUTRAL_MAGNITUDE = 5  # of 10: from here on tf's and timm's sharpness never smooths


def apply_noise(
    images: Images, index: np.ndarray, chain: Sequence[NoiseOptions], seed: int, epoch: int
) -> Images:
    """Apply the chain to finished views; each link draws for itself, by its place and kind."""
    for place, options in enumerate(chain):
        stream = stream_key(seed, f"noise-{place}-{options.kind}", epoch)
        source = np.ascontiguousarray(images.numpy())
        out = np.empty_like(source)
        apply_link(source, out, index, stream, options)
        images = torch.from_numpy(out)
    return images


def apply_link(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: NoiseOptions,
) -> None:
    """Apply one link of the chain."""
    match options:
        case RandAugmentOptions():
            randaugment_into(images, out, index, stream, options)
        case RandomErasingOptions():
            erase_into(images, out, index, stream, options)
        case AdditiveNoiseOptions():
            add_noise_into(images, out, index, stream, options)


def erase_into(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: RandomErasingOptions,
) -> None:
    """Write the images with a rectangle erased from some of them."""
    np.copyto(out, images)
    probability, area, aspect = options.probability, options.area, options.aspect
    random_fill = options.fill == "noise"

    def block(start: int, stop: int) -> None:
        kernels.erase(out, index, stream, probability, area, aspect, random_fill, start, stop)

    run_blocks(block, len(images))


def add_noise_into(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: AdditiveNoiseOptions,
) -> None:
    """Write the images with noise added."""
    probability, std = options.probability, options.std * 255
    quantiles = kernels.quantiles(options.distribution)
    shape = len(images), math.prod(images.shape[1:])
    source, target = images.reshape(shape), out.reshape(shape)

    def block(start: int, stop: int) -> None:
        kernels.add_noise(source, target, index, stream, probability, std, quantiles, start, stop)

    run_blocks(block, len(images))


def overlaps(
    chain: Iterable[NoiseOptions], corruptions: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Say which noise has seen which of these corruptions: "randaugment Color" -> saturate.

    Noise without anything in common with them is left out.

    Source: Hendrycks et al. 2020 (AugMix), who leave contrast, color, brightness and sharpness
    out of their operations, and all noise, because the benchmark has them.
    """
    present = tuple(corruptions)
    found: dict[str, tuple[str, ...]] = {}
    for options in chain:
        for name, theirs in overlaps_of(options).items():
            common = tuple(corruption for corruption in present if corruption in theirs)
            if common:
                found[name] = common
    return found


def overlaps_of(options: NoiseOptions) -> dict[str, tuple[str, ...]]:
    """Say what one link of the chain has in common with the benchmark."""
    match options:
        case RandAugmentOptions():
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
        case RandomErasingOptions():
            return {"random_erasing": ("impulse_noise",)} if options.fill == "noise" else {}
        case AdditiveNoiseOptions():
            return {"additive_noise": NOISES}
