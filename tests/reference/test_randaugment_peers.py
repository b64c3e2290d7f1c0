"""The table of RandAugment's operations against the code of timm and torchvision."""

import math
import random
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from ruggedize.views import operations as op
from ruggedize.views.operations import SEMANTICS, Operation, operations
from tests.peers import peer
from tests.single_operation import apply, from_pil, pictures, to_pil

HEIGHT, WIDTH = 40, 56
WITHOUT_LEVEL = {"Identity", "AutoContrast", "Equalize", "Invert"}
WHOLE = {"Posterize", "SolarizeAdd"}
FACTORS = {"Color", "Contrast", "Brightness", "Sharpness"}


@pytest.fixture(scope="module")
def timm_code() -> Iterator[ModuleType]:
    yield from peer("timm.data.auto_augment")


@pytest.fixture(scope="module")
def torchvision_code() -> Iterator[ModuleType]:
    yield from peer("torchvision.transforms.v2")


def table_of(semantics: str, magnitude: int) -> dict[str, Operation]:
    return {o.name: o for o in operations(semantics, magnitude, HEIGHT, WIDTH)}


def timm_name(name: str, increasing: bool) -> str:
    has_increasing = {"Posterize", "Solarize", *FACTORS}
    if name.startswith("Translate"):
        return f"{name}Rel"
    return f"{name}Increasing" if increasing and name in has_increasing else name


def timm_levels(code: ModuleType, name: str, magnitude: int) -> set[float]:
    """Collect the levels that timm gives an operation, whatever the sign it draws."""
    rule = code.LEVEL_TO_ARG[name]
    random.seed(0)
    scale = {"TranslateXRel": WIDTH, "TranslateYRel": HEIGHT}.get(name, 1)
    return {rule(magnitude, {})[0] * scale for _ in range(20)}


@pytest.mark.parametrize(("semantics", "policy"), [("timm", ""), ("timm-inc1", "-inc1")])
def test_timms_operations_and_probability_are_ours(
    timm_code: ModuleType, semantics: str, policy: str
) -> None:
    transform = timm_code.rand_augment_transform(f"rand-m9-n2{policy}", {})
    names = [timm_name(name, bool(policy)) for name in table_of(semantics, 9)]
    assert sorted(names) == sorted(each.name for each in transform.ops)
    assert {each.prob for each in transform.ops} == {SEMANTICS[semantics].probability}
    assert set(transform.ops[0].kwargs["fillcolor"]) == {SEMANTICS[semantics].fill}


@pytest.mark.parametrize("magnitude", range(11))
@pytest.mark.parametrize("semantics", ["timm", "timm-inc1"])
def test_timms_levels_are_ours(timm_code: ModuleType, semantics: str, magnitude: int) -> None:
    for name, ours in table_of(semantics, magnitude).items():
        if name in WITHOUT_LEVEL:
            continue
        theirs = timm_levels(timm_code, timm_name(name, semantics == "timm-inc1"), magnitude)
        assert sorted({ours.level, ours.opposite}) == pytest.approx(sorted(theirs), abs=1e-9)


@pytest.mark.parametrize("interpolation", [op.BILINEAR, op.BICUBIC])
@pytest.mark.parametrize("semantics", ["timm", "timm-inc1"])
def test_timms_pictures_are_ours(
    timm_code: ModuleType, small_images: torch.Tensor, semantics: str, interpolation: int
) -> None:
    images = pictures(small_images, HEIGHT, WIDTH)
    pil_name = (
        Image.Resampling.BILINEAR if interpolation == op.BILINEAR else Image.Resampling.BICUBIC
    )
    how = {"resample": pil_name, "fillcolor": (128,) * 3}
    for name, operation in table_of(semantics, 9).items():
        change = timm_code.NAME_TO_OP[timm_name(name, False)]
        scale = {"TranslateX": WIDTH, "TranslateY": HEIGHT}.get(name, 1)
        for level in (operation.level, operation.opposite):
            argument = int(level) if name in WHOLE else level / scale
            arguments = () if name in WITHOUT_LEVEL else (argument,)
            theirs = from_pil([change(image, *arguments, **how) for image in to_pil(images)])
            check(apply(images, semantics, operation.code, level, interpolation), theirs, operation)


def check(ours: np.ndarray, theirs: np.ndarray, operation: Operation) -> None:
    """Compare as the issue asks: to the bit without geometry, nearly all within 2 with it."""
    if operation.code < op.CUTOUT:
        np.testing.assert_array_equal(ours, theirs, operation.name)
    else:
        assert (np.abs(ours.astype(int) - theirs) <= 2).mean() >= 0.99, operation.name


@pytest.mark.parametrize("magnitude", range(31))
def test_torchvisions_operations_and_levels_are_ours(
    torchvision_code: ModuleType, magnitude: int
) -> None:
    space = torchvision_code.RandAugment._AUGMENTATION_SPACE
    ours = table_of("torchvision", magnitude)
    assert set(ours) == set(space)
    for name, (rule, signed) in space.items():
        bins = rule(31, HEIGHT, WIDTH)
        if bins is None:
            continue
        theirs = float(bins[magnitude])
        if name.startswith("Translate"):
            theirs = int(theirs)
        neutral, full = (
            (1.0, 1.0) if name in FACTORS else (0.0, 255.0 if name == "Solarize" else 1.0)
        )
        expected = [neutral + full * theirs, neutral + full * (-theirs if signed else theirs)]
        assert [ours[name].level, ours[name].opposite] == pytest.approx(expected, abs=1e-4), name


def test_torchvisions_pictures_are_ours(
    torchvision_code: ModuleType, small_images: torch.Tensor
) -> None:
    images = pictures(small_images, HEIGHT, WIDTH)
    transform = torchvision_code.RandAugment()
    nearest = torchvision_code.InterpolationMode.NEAREST
    for name, operation in table_of("torchvision", 9).items():
        for level in {operation.level, operation.opposite}:
            magnitude = torchvision_magnitude(name, level)
            theirs = [
                transform._apply_image_or_video_transform(image, name, magnitude, nearest, {})
                for image in to_pil(images)
            ]
            ours = apply(images, "torchvision", operation.code, level)
            same = (ours == from_pil(theirs)).mean()
            assert same == 1.0 if operation.code < op.CUTOUT else same >= 0.995, name


def torchvision_magnitude(name: str, level: float) -> float:
    """Return what torchvision calls our level; it translates the other way round."""
    if name in FACTORS:
        return level - 1
    if name == "Solarize":
        return level / 255
    return -level if name.startswith("Translate") else level


def test_levels_at_magnitude_9_are_those_of_the_field() -> None:
    expected = {
        "tf-2021": {"ShearX": 0.27, "TranslateX": 90, "Rotate": 27, "Color": 1.72, "Posterize": 3}
        | {"Solarize": 230, "SolarizeAdd": 99, "Cutout": 36},
        "tf": {"ShearX": 0.27, "TranslateX": 0.405 * 72, "Rotate": 27, "Color": 1.72}
        | {"Posterize": 3, "Solarize": 230, "SolarizeAdd": 99, "Cutout": math.floor(0.16 * 72)},
        "torchvision": {"ShearX": 0.09, "TranslateX": math.floor(0.136 * 72), "Rotate": 9}
        | {"Color": 1.27, "Posterize": 7, "Solarize": 178.5},
        "timm": {"ShearX": 0.27, "TranslateX": 0.405 * 72, "Rotate": 27, "Color": 1.72}
        | {"Posterize": 3, "Solarize": 230, "SolarizeAdd": 99},
        "timm-inc1": {"Color": 1.81, "Posterize": 1, "Solarize": 26, "SolarizeAdd": 99},
    }
    numbers = {"tf-2021": 17, "tf": 17, "torchvision": 14, "timm": 15, "timm-inc1": 15}
    for semantics, levels in expected.items():
        ours = {o.name: o.level for o in operations(semantics, 9, 72, 72)}
        assert len(ours) == numbers[semantics]
        assert {name: ours[name] for name in levels} == pytest.approx(levels), semantics
