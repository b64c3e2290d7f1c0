"""View options: invalid ones are rejected with a fix, and reading them is cheap."""

import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from ruggedize.core.errors import UserError
from ruggedize.views.noise_options import (
    AdditiveNoiseOptions,
    RandAugmentOptions,
    RandomErasingOptions,
)
from ruggedize.views.options import ViewOptions

ALL = [AdditiveNoiseOptions, RandAugmentOptions, RandomErasingOptions, ViewOptions]
REJECTED = {
    "crop larger than resize": (ViewOptions, {"resize": 64, "crop": 72}, "crop must be at most"),
    "pad beside resize": (ViewOptions, {"resize": 96, "pad": 4}, "set views.pad = 0"),
    "crop of nothing": (ViewOptions, {"crop": 0}, "greater than or equal to 1"),
    "negative pad": (ViewOptions, {"pad": -1}, "greater than or equal to 0"),
    "random crops without a size": (ViewOptions, {"crop_mode": "random-resized"}, "views.crop = 2"),
    "random crops of resized images": (
        ViewOptions,
        {"crop_mode": "random-resized", "crop": 24, "resize": 32},
        "neither resize nor pad",
    ),
    "scale the wrong way round": (
        ViewOptions,
        {"crop_mode": "random-resized", "crop": 24, "crop_scale": (1.0, 0.1)},
        "the usual value is (0.08, 1.0)",
    ),
    "ratio of nothing": (
        ViewOptions,
        {"crop_mode": "random-resized", "crop": 24, "crop_ratio": (0.0, 1.0)},
        "the usual value is (0.75",
    ),
    "scale of uniform crops": (ViewOptions, {"crop_scale": (0.5, 1.0)}, "have no effect"),
    "filter of uniform crops": (ViewOptions, {"interpolation": "bicubic"}, "have no effect"),
    "more than the whole image": (ViewOptions, {"crop_pct": 1.1}, "less than or equal to 1"),
    "unknown geometry": (ViewOptions, {"geometry": "same"}, "'independent' or 'shared'"),
    "unknown key": (ViewOptions, {"zoom": 2}, "Extra inputs are not permitted"),
    "unknown kind": (ViewOptions, {"noise": [{"kind": "fog"}]}, "does not match any of"),
    "randaugment second": (
        ViewOptions,
        {"noise": [{"kind": "additive_noise"}, {"kind": "randaugment"}]},
        "move it to the front",
    ),
    "tf beyond 10": (RandAugmentOptions, {"magnitude": 11}, "must be in 0..10 with semantics 'tf'"),
    "torchvision beyond 30": (
        RandAugmentOptions,
        {"magnitude": 31, "semantics": "torchvision"},
        "must be in 0..30",
    ),
    "no layers": (RandAugmentOptions, {"num_layers": 0}, "greater than or equal to 1"),
    "unknown semantics": (RandAugmentOptions, {"semantics": "pil"}, "'tf', 'tf-2021'"),
    "probability above 1": (RandomErasingOptions, {"probability": 1.5}, "less than or equal to 1"),
    "area the wrong way round": (RandomErasingOptions, {"area": (0.4, 0.02)}, "swap them"),
    "aspect of nothing": (RandomErasingOptions, {"aspect": (0.0, 1.0)}, "both above 0"),
    "std in levels": (AdditiveNoiseOptions, {"std": 25.0}, "less than or equal to 1"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_mistakes_are_rejected_with_a_fix(case: str) -> None:
    model, values, words = REJECTED[case]
    with pytest.raises(ValidationError) as error:
        model.model_validate(values)
    assert words in str(error.value)


def test_crop_must_fit_the_stored_image_when_nothing_is_resized() -> None:
    with pytest.raises(
        UserError, match=r"at most 32 for 32-pixel images, got 40;\nset views.resize"
    ):
        ViewOptions(crop=40).check_image_size(32)
    ViewOptions(crop=40, pad=4).check_image_size(32)
    ViewOptions(crop=40, resize=48).check_image_size(32)
    ViewOptions(crop=40).check_image_size(40)


def test_faithful_randaugment_is_rejected_on_small_views() -> None:
    noise = (RandAugmentOptions(semantics="tf-2021"),)
    with pytest.raises(UserError, match=r"at least 64 pixels, got 32;\nuse semantics 'tf'"):
        ViewOptions(pad=4, noise=noise).check_image_size(32)
    ViewOptions(resize=96, crop=72, noise=noise).check_image_size(32)


def test_input_size_is_the_side_of_the_views() -> None:
    assert ViewOptions().input_size(32) == 32
    assert ViewOptions(pad=4).input_size(32) == 32
    assert ViewOptions(resize=64).input_size(32) == 64
    assert ViewOptions(resize=96, crop=72).input_size(32) == 72
    random_resized = ViewOptions(crop_mode="random-resized", crop=48)
    random_resized.check_image_size(32)  # crops of small images are enlarged
    assert random_resized.input_size(32) == 48


def test_options_survive_a_round_trip_through_json() -> None:
    options = ViewOptions(
        resize=96,
        crop=72,
        noise=(RandAugmentOptions(), RandomErasingOptions(), AdditiveNoiseOptions()),
    )
    assert ViewOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize("model", ALL)
def test_every_option_is_described(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} has no description for --help"


def test_options_import_neither_torch_nor_numba() -> None:
    code = (
        "import sys, ruggedize.views.options; "
        "print(*[name for name in ('torch', 'numba') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
