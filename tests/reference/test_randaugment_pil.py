"""The operations of RandAugment against PIL's."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from ruggedize.views import operations as op
from tests.single_operation import apply, from_pil, pictures, to_pil

SIZES = [(32, 32), (72, 72), (28, 41)]
FACTORS = [0.0, 0.1, 0.19, 0.73, 1.0, 1.27, 1.72, 1.81, 1.9]
Change = Callable[[Image.Image], Image.Image]


def by_pil(images: np.ndarray, change: Change) -> np.ndarray:
    return from_pil([change(image) for image in to_pil(images)])


def solarized_by_adding(addition: int) -> Change:
    table = [min(255, value + addition) if value < 128 else value for value in range(256)]
    return lambda image: image.point(table * 3)


LOOKUPS = {
    "auto contrast": (op.AUTO_CONTRAST, 0, ImageOps.autocontrast),
    "equalize": (op.EQUALIZE, 0, ImageOps.equalize),
    "invert": (op.INVERT, 0, ImageOps.invert),
    **{
        f"posterize {bits}": (
            op.POSTERIZE,
            bits,
            lambda image, b=bits: ImageOps.posterize(image, b),
        )
        for bits in range(1, 9)
    },
    "posterize 0": (op.POSTERIZE, 0, lambda image: image.point([0] * 768)),
    **{
        f"solarize {limit}": (
            op.SOLARIZE,
            limit,
            lambda image, t=limit: ImageOps.solarize(image, t),
        )
        for limit in (0, 26, 178.5, 230, 256)
    },
    **{
        f"solarize add {addition}": (op.SOLARIZE_ADD, addition, solarized_by_adding(addition))
        for addition in (0, 99, 110, 128)
    },
}
BLENDS = {
    "color": (op.COLOR, ImageEnhance.Color),
    "contrast": (op.CONTRAST, ImageEnhance.Contrast),
    "brightness": (op.BRIGHTNESS, ImageEnhance.Brightness),
    "sharpness": (op.SHARPNESS, ImageEnhance.Sharpness),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", LOOKUPS)
def test_lookups_equal_pils_to_the_bit(
    small_images: torch.Tensor, name: str, size: tuple[int, int]
) -> None:
    images = pictures(small_images, *size)
    code, level, change = LOOKUPS[name]
    np.testing.assert_array_equal(apply(images, "tf", code, level), by_pil(images, change))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", BLENDS)
def test_blends_equal_pils_to_the_bit(
    small_images: torch.Tensor, name: str, size: tuple[int, int]
) -> None:
    images = pictures(small_images, *size)
    code, enhance = BLENDS[name]
    for factor in FACTORS:
        expected = by_pil(images, lambda image, f=factor: enhance(image).enhance(f))
        np.testing.assert_array_equal(apply(images, "tf", code, factor), expected)


@pytest.mark.parametrize("name", BLENDS)
def test_blends_of_real_images_equal_pils_and_no_other_factors(
    cifar10_test: tuple[torch.Tensor, torch.Tensor], name: str
) -> None:
    images = cifar10_test[0][:300].numpy()
    code, enhance = BLENDS[name]
    expected = by_pil(images, lambda image: enhance(image).enhance(1.72))
    assert np.array_equal(apply(images, "tf", code, 1.72), expected)
    assert not np.array_equal(apply(images, "tf", code, 1.73), expected)  # it bites


def matrix(code: int, level: float) -> tuple[float, ...]:
    """Return the matrix by which timm and torchvision ask PIL for a shear or a translation."""
    return {
        op.SHEAR_X: (1, level, 0, 0, 1, 0),
        op.SHEAR_Y: (1, 0, 0, level, 1, 0),
        op.TRANSLATE_X: (1, 0, level, 0, 1, 0),
        op.TRANSLATE_Y: (1, 0, 0, 0, 1, level),
    }[code]


def moved_by_pil(images: np.ndarray, code: int, level: float, how: int, fill: int) -> np.ndarray:
    """Move the images by PIL; `how` is PIL's name for the interpolation."""
    fill_color = (fill,) * 3

    def change(image: Image.Image) -> Image.Image:
        if code == op.ROTATE:
            return image.rotate(level, how, fillcolor=fill_color)
        affine = matrix(code, level)
        return image.transform(
            image.size, Image.Transform.AFFINE, affine, how, fillcolor=fill_color
        )

    return by_pil(images, change)


MOVES = [
    *[(op.ROTATE, level) for level in (-30.0, -9.0, 0.0, 3.0, 27.0)],
    *[(op.SHEAR_X, level) for level in (-0.3, -0.09, 0.0, 0.27)],
    *[(op.SHEAR_Y, level) for level in (-0.27, 0.03, 0.27)],
    *[(op.TRANSLATE_X, level) for level in (-12.96, -4.0, 0.0, 0.3, 14.4)],
    *[(op.TRANSLATE_Y, level) for level in (-14.4, -0.5, 4.0, 12.96)],
]
PIL_NAMES = {
    op.NEAREST: Image.Resampling.NEAREST,
    op.BILINEAR: Image.Resampling.BILINEAR,
    op.BICUBIC: Image.Resampling.BICUBIC,
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("code", "level"), MOVES)
def test_nearest_geometry_is_pils(
    small_images: torch.Tensor, code: int, level: float, size: tuple[int, int]
) -> None:
    images = pictures(small_images, *size)
    ours = apply(images, "tf", code, level)
    equal = ours == moved_by_pil(images, code, level, Image.Resampling.NEAREST, 128)
    assert equal.mean() >= 0.995


@pytest.mark.parametrize("interpolation", [op.BILINEAR, op.BICUBIC])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("code", "level"), MOVES)
def test_interpolated_geometry_is_pils_within_two(
    small_images: torch.Tensor, code: int, level: float, size: tuple[int, int], interpolation: int
) -> None:
    images = pictures(small_images, *size)
    ours = apply(images, "timm", code, level, interpolation).astype(int)
    expected = moved_by_pil(images, code, level, PIL_NAMES[interpolation], 128)
    difference = np.abs(ours - expected)
    assert (difference <= 2).mean() >= 0.99
    assert difference.mean() < 0.05


def test_the_comparison_of_geometry_bites(small_images: torch.Tensor) -> None:
    images = pictures(small_images, 32, 32)
    nearest = apply(images, "tf", op.ROTATE, 28.0)
    exact = moved_by_pil(images, op.ROTATE, 27.0, Image.Resampling.NEAREST, 128)
    assert (nearest == exact).mean() < 0.9
    bilinear = apply(images, "timm", op.ROTATE, 27.0, op.BILINEAR).astype(int)
    bicubic = moved_by_pil(images, op.ROTATE, 27.0, Image.Resampling.BICUBIC, 128)
    assert (np.abs(bilinear - bicubic) <= 2).mean() < 0.9


@pytest.mark.parametrize(("semantics", "fill"), [("tf", 128), ("torchvision", 0), ("timm", 128)])
def test_what_comes_into_view_is_filled_as_the_semantics_say(
    small_images: torch.Tensor, semantics: str, fill: int
) -> None:
    images = np.full_like(small_images.numpy(), 77)
    moved = apply(images, semantics, op.TRANSLATE_X, 8.0)
    assert (moved[..., -8:] == fill).all()
    assert (moved[..., :-8] == 77).all()
