"""TrivialAugment against Pillow, with the operations and strengths of the paper's table."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from ruggedize.core.seeding import stream_key
from ruggedize.views.kinds.trivialaugment import PLAN, apply
from ruggedize.views.noise_options import TrivialAugmentOptions
from tests.image_draws import Draws
from tests.single_operation import from_pil, to_pil

ORDER = (
    *("Identity", "AutoContrast", "Equalize", "ShearX", "ShearY", "TranslateX", "TranslateY"),
    *("Rotate", "Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize"),
)
NUM_STRENGTHS = 31
STREAM = stream_key(5, "test")


def transformed(image: Image.Image, name: str, strength: float, sign: int) -> Image.Image:
    """Apply an operation; table 1 of the paper has the ranges of the wide space."""
    if name in ("Brightness", "Color", "Contrast", "Sharpness"):
        return getattr(ImageEnhance, name)(image).enhance(1 + sign * 0.99 * strength)
    slope, shift = sign * 0.99 * strength, sign * int(32 * strength)
    matrices = {
        "ShearX": (1, slope, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, slope, 1, 0),
        "TranslateX": (1, 0, shift, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, shift),
    }
    if name in matrices:
        return image.transform(image.size, Image.Transform.AFFINE, matrices[name])
    return {
        "Identity": lambda: image,
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Rotate": lambda: image.rotate(sign * 135 * strength),
        "Posterize": lambda: ImageOps.posterize(image, 8 - round(6 * strength)),
        "Solarize": lambda: ImageOps.solarize(image, 255 * (1 - strength)),
    }[name]()


def drawn(index: int) -> tuple[str, float, int]:
    """Return the operation, its strength and the sign that are drawn for an image."""
    draws = Draws(STREAM, index)
    number, operation = divmod(draws.integer(0, len(ORDER) * NUM_STRENGTHS), len(ORDER))
    sign = 1 if draws.uniform(2) < 0.5 else -1
    return ORDER[operation], number / (NUM_STRENGTHS - 1), sign


def test_views_are_pillows(cifar10_test: tuple[torch.Tensor, torch.Tensor]) -> None:
    images = cifar10_test[0][:1500].numpy()
    index, out = np.arange(1500) + 9, np.empty_like(images)
    apply(images, out, index, STREAM, TrivialAugmentOptions())
    draws = [drawn(int(number)) for number in index]
    pairs = zip(to_pil(images), draws, strict=True)
    whole = [transformed(image, *draw) for image, draw in pairs]
    equal = (from_pil(whole) == out).mean((1, 2, 3))
    for name in ORDER:
        rows = [row for row, (operation, *_) in enumerate(draws) if operation == name]
        assert len(rows) > 60
        assert equal[rows].mean() >= 0.995, name
        if name not in ("Rotate", "ShearX", "ShearY"):
            assert equal[rows].min() == 1.0, name
    assert (from_pil(whole[1:]) == out[:-1]).mean() < 0.3  # must differ


def test_every_operation_has_every_strength_once() -> None:
    assert len(PLAN.codes) == len(ORDER) * NUM_STRENGTHS
    assert set(np.bincount(PLAN.codes)) == {0, NUM_STRENGTHS}


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_comparison_bites(small_images: torch.Tensor, strength: float) -> None:
    image = to_pil(small_images.numpy())[0]
    weaker = transformed(image, "Brightness", strength * 0.9, 1)
    assert (transformed(image, "Brightness", strength, 1) == weaker) == (strength == 0)
