"""AugMix against Pillow and NumPy, from the paper's algorithm and augmentations.py."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from ruggedize.core.seeding import stream_key
from ruggedize.corruptions.names import ALL
from ruggedize.views import overlaps
from ruggedize.views.kinds import augmix
from ruggedize.views.noise_options import AugMixOptions
from tests.image_draws import Draws
from tests.single_operation import from_pil, to_pil

STREAM = stream_key(2, "test")
STRICT = (
    *("autocontrast", "equalize", "posterize", "rotate", "solarize"),
    *("shear_x", "shear_y", "translate_x", "translate_y"),
)
NAMES = {"strict": STRICT, "all": (*STRICT, "Color", "Contrast", "Brightness", "Sharpness")}
AFFINE, BILINEAR = Image.Transform.AFFINE, Image.Resampling.BILINEAR


def transformed(image: Image.Image, name: str, level: float, sign: int) -> Image.Image:
    """Apply an operation at a sampled level, 0.1 to 10."""
    if name in NAMES["all"][9:]:
        return getattr(ImageEnhance, name)(image).enhance(level * 1.8 / 10 + 0.1)
    slope = sign * level * 0.3 / 10
    shift = sign * int(level * (image.size[0] / 3) / 10)
    matrices = {
        "shear_x": (1, slope, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, slope, 1, 0),
        "translate_x": (1, 0, shift, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift),
    }
    if name in matrices:
        return image.transform(image.size, AFFINE, matrices[name], resample=BILINEAR)
    return {
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "posterize": lambda: ImageOps.posterize(image, 4 - int(level * 4 / 10)),
        "rotate": lambda: image.rotate(sign * int(level * 30 / 10), resample=BILINEAR),
        "solarize": lambda: ImageOps.solarize(image, 256 - int(level * 256 / 10)),
    }[name]()


def mixed(image: np.ndarray, draws: Draws, options: AugMixOptions) -> tuple[np.ndarray, set[str]]:
    """Return the mixture and the names of the operations in it."""
    names, used = NAMES[options.operations], set()
    weights = np.array([-math.log(1 - draws.uniform(1 + n)) for n in range(options.width)])
    mixture = np.zeros(image.shape)
    for chain, weight in enumerate(weights / weights.sum()):
        counter, (augmented,) = 11 + 31 * chain, to_pil([image])
        for number in range(1 + draws.integer(counter, options.depth)):
            first = counter + 1 + 3 * number
            name = names[draws.integer(first, len(names))]
            level = 0.1 + (options.severity - 0.1) * draws.uniform(first + 1)
            sign = 1 if draws.uniform(first + 2) < 0.5 else -1
            augmented = transformed(augmented, name, level, sign)
            used.add(name)
        mixture += weight * from_pil([augmented])[0]
    share = draws.uniform(0)
    return (1 - share) * image + share * mixture, used


@pytest.mark.parametrize("operations", NAMES)
@pytest.mark.parametrize(("width", "depth", "severity"), [(3, 3, 3), (1, 1, 10), (5, 2, 6)])
def test_mixtures_are_pillows(
    cifar10_test: tuple[torch.Tensor, torch.Tensor],
    operations: str,
    width: int,
    depth: int,
    severity: float,
) -> None:
    images, index = cifar10_test[0][:500].numpy(), np.arange(500) + 31
    options = AugMixOptions(width=width, depth=depth, severity=severity, operations=operations)
    out = np.empty_like(images)
    augmix.apply(images, out, index, STREAM, options)
    pairs = [mixed(i, Draws(STREAM, n), options) for i, n in zip(images, index, strict=True)]
    difference = np.abs(out - np.stack([mixture for mixture, _ in pairs]))
    assert (difference <= 2).mean() >= 0.99
    assert difference.mean() < 0.4  # 0.25 is the mean of rounding alone
    moving = {"rotate", *STRICT[5:]}
    colored = np.array([not used & moving for _, used in pairs])
    assert colored.sum() >= 2
    assert difference[colored].max() < 0.501
    assert np.abs(out[1:] - pairs[0][0]).mean() > 20  # must differ
    assert {name for _, used in pairs for name in used} == set(NAMES[operations])


def test_the_chosen_operations_overlap_nothing_and_the_others_the_benchmark() -> None:
    assert overlaps((AugMixOptions(),), ALL) == {}
    assert overlaps((AugMixOptions(operations="all"),), ALL) == {
        "augmix Color": ("saturate",),
        "augmix Contrast": ("contrast",),
        "augmix Brightness": ("brightness",),
        "augmix Sharpness": ("defocus_blur", "gaussian_blur"),
    }
