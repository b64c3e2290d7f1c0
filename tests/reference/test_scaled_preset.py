"""The preset `scaled` changes larger versions of a picture as much as the small one.

The pictures have soft and sharp parts; 32, 64 and 84 pixels are area averages of the same 672. How
much a blur changes a picture depends on its finest detail. Real photographs have more of it at 84
pixels than at 32, enlarged pictures less. So for these only the corruptions that do not depend
on it stay within the tolerance, and the others within a factor.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

import ruggedize
from ruggedize.corruptions import CORRUPTIONS
from ruggedize.corruptions.names import SEVERITIES
from ruggedize.data import load_data
from tests.conftest import required_path

SIDE = 672  # a multiple of 32 and 84; to 64 it is reduced by 10.5
NUM_PICTURES, NUM_SHAPES, NUM_SEEDS = 40, 12, 3
TOLERANCE = 0.2
LEAST = 0.75  # levels of 255: truncation decides about smaller changes
OF_DETAIL = ("elastic_transform", "pixelate", "jpeg_compression")  # and the blurs
LEAST_OF_DETAIL, MOST_OF_DETAIL = 0.6, 1.65
BLURS = [name for name, row in CORRUPTIONS.items() if row.family == "blur"]


@cache
def pictures(side: int) -> torch.Tensor:
    """Draw shapes of many sizes over gradients: uint8 `[n, 3, side, side]`."""
    rng = np.random.RandomState(1)
    drawn = []
    for _ in range(NUM_PICTURES):
        corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.uint8)
        picture = Image.fromarray(corners).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        draw = ImageDraw.Draw(picture)
        for _ in range(NUM_SHAPES):
            (x, y), r, ratio = rng.uniform(0, SIDE, 2), rng.uniform(0.04, 0.25), rng.uniform(0.5, 2)
            box = (x - r * SIDE, y - r * ratio * SIDE, x + r * SIDE, y + r * ratio * SIDE)
            colour = tuple(int(value) for value in rng.uniform(0, 255, 3))
            (draw.ellipse if rng.rand() < 0.5 else draw.rectangle)(box, fill=colour)
        drawn.append(np.asarray(picture.resize((side, side), Image.Resampling.BOX)))
    return torch.from_numpy(np.stack(drawn).transpose(0, 3, 1, 2).copy())


@cache
def changes(name: str, side: int, preset: str) -> np.ndarray:
    """Return the mean absolute change at each severity, in levels of 255."""
    images = pictures(side)
    options = {"textures": "procedural"} if name == "frost" else None
    seeds = range(NUM_SEEDS if CORRUPTIONS[name].random else 1)
    return np.array(
        [
            np.mean([change(images, name, severity, seed, preset, options) for seed in seeds])
            for severity in SEVERITIES
        ]
    )


def change(images, name, severity, seed, preset, options) -> float:
    noisy = ruggedize.corrupt(images, name, severity, seed=seed, preset=preset, options=options)
    return float((noisy.float() - images.float()).abs().mean())


@pytest.mark.parametrize("side", [64, 84])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_larger_picture_is_changed_as_much_as_a_small_one(name: str, side: int) -> None:
    small, large = changes(name, 32, "cifar"), changes(name, side, "scaled")
    assert abs(large.sum() / small.sum() - 1) < TOLERANCE
    assert (abs(large - small) < np.maximum(TOLERANCE * small, LEAST)).all()


@pytest.mark.parametrize("name", BLURS)
def test_unscaled_a_blur_changes_a_larger_picture_less(name: str) -> None:
    """It bites: with the constants for 32 pixels, most blurs lose half of their effect at 84."""
    ratio = changes(name, 84, "auto").sum() / changes(name, 32, "auto").sum()
    assert ratio < (0.9 if name == "zoom_blur" else 0.5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_at_32_pixels_the_levels_are_those_of_the_script(name: str) -> None:
    row = CORRUPTIONS[name]
    assert row.levels("scaled", 32) == row.cifar
    assert not row.scaled or row.levels("scaled", 64) != row.cifar


def test_the_shorter_side_counts() -> None:
    row = CORRUPTIONS["gaussian_blur"]
    images = pictures(84)[:2, :, :64]
    blurred = ruggedize.corrupt(images, "gaussian_blur", 5, preset="scaled")
    square = ruggedize.corrupt(images[..., :64], "gaussian_blur", 5, preset="scaled")
    assert torch.equal(blurred[..., :40], square[..., :40])
    assert row.level("scaled", 5, 64) > row.cifar[4]


@cache
def photographs(side: int) -> torch.Tensor:
    """Cut scikit-learn's two photographs into squares and average areas of them."""
    rng = np.random.RandomState(0)
    cut = []
    for photograph in load_sample_images().images:
        height, width = photograph.shape[:2]
        for _ in range(10):
            size = rng.randint(250, height)
            x, y = rng.randint(0, width - size), rng.randint(0, height - size + 1)
            square = Image.fromarray(photograph).crop((x, y, x + size, y + size))
            cut.append(np.asarray(square.resize((side, side), Image.Resampling.BOX)))
    return torch.from_numpy(np.stack(cut).transpose(0, 3, 1, 2).copy())


@cache
def enlarged(side: int) -> torch.Tensor:
    """Enlarge forty test images of CIFAR-10."""
    root = required_path("RUGGEDIZE_TEST_DATA")
    images = load_data("cifar10", root).test.images[:2000:50].permute(0, 2, 3, 1).numpy()
    cubic = [Image.fromarray(a).resize((side, side), Image.Resampling.BICUBIC) for a in images]
    return torch.from_numpy(np.stack(cubic).transpose(0, 3, 1, 2).copy())


@pytest.mark.more
@pytest.mark.parametrize("pictures_of", [photographs, enlarged])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_real_pictures_are_changed_as_much_unless_their_detail_decides(
    name: str, pictures_of: Callable[[int], torch.Tensor]
) -> None:
    options = {"textures": "procedural"} if name == "frost" else None

    def total(side: int, preset: str) -> float:
        images = pictures_of(side)
        return sum(change(images, name, level, 0, preset, options) for level in SEVERITIES)

    for side in (64, 84):
        ratio = total(side, "scaled") / total(32, "cifar")
        if name in (*BLURS, *OF_DETAIL):
            assert LEAST_OF_DETAIL < ratio < MOST_OF_DETAIL
        else:
            assert abs(ratio - 1) < TOLERANCE
