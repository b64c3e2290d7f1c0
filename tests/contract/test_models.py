"""Contract of every architecture."""

import copy
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from ruggedize.models import (
    Classifier,
    ModelOptions,
    create_model,
    load_model,
    nets,
    num_parameters,
    save_model,
)
from ruggedize.models.registry import meta_model, takes

CLASSES = tuple("abcdefghij")
SMALL = {
    "resnet50v2": {"name": "resnet50v2"},
    "resnet9": {"name": "resnet9", "width": 8},
    "airbench": {"name": "airbench", "width": 8},
    "preact_resnet18": {"name": "preact_resnet18", "width": 8},
    "wide_resnet": {"name": "wide_resnet", "depth": 10, "width": 1},
}


def options(value: object) -> ModelOptions:
    return TypeAdapter(ModelOptions).validate_python(value)


def fresh(name: str, seed: int) -> Classifier:
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return create_model(options(SMALL[name]), CLASSES, 32, 32, seed, images)


@cache
def built_once(name: str) -> Classifier:
    return fresh(name, seed=0)


def small(name: str) -> Classifier:
    return copy.deepcopy(built_once(name))


def weights_of(model: Classifier) -> Tensor:
    return torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()])


@pytest.fixture
def few_images(small_images: Tensor) -> Tensor:
    return small_images[:4]


@pytest.fixture(params=list(SMALL))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_logits_are_float32_one_row_per_image(name: str, few_images: Tensor) -> None:
    model = small(name)
    assert model(few_images[:3]).shape == (3, 10)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(few_images[:3]).dtype == torch.float32


def test_anything_but_uint8_is_rejected(small_images: Tensor) -> None:
    with pytest.raises(TypeError, match=r"(?i)uint8"):
        small("resnet9")(small_images[:2].float() / 255)


def test_gradients_reach_every_parameter(name: str, few_images: Tensor) -> None:
    model = small(name).eval()  # batch statistics would cancel the biases before them
    model(few_images).logsumexp(1).sum().backward()
    untouched = [
        key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()
    ]
    assert not untouched


def test_weights_follow_from_the_seed_alone(name: str) -> None:
    torch.manual_seed(5)
    first, state = weights_of(fresh(name, seed=1)), torch.get_rng_state()
    torch.manual_seed(6)
    assert torch.equal(first, weights_of(fresh(name, seed=1)))
    assert not torch.equal(first, weights_of(fresh(name, seed=2)))  # must differ
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state()), "building moved the global random state"


def test_every_weight_is_initialised(name: str) -> None:
    for key, value in small(name).network.state_dict().items():
        assert value.isfinite().all(), key
        if key.endswith(("running_var", "running_mean", "num_batches_tracked")):
            assert (value == float(key.endswith("running_var"))).all(), key
        elif value.ndim >= 2:
            assert 0 < value.std() < 10, key
            assert abs(value.mean()) < value.std(), key


def test_in_eval_mode_an_image_does_not_depend_on_its_batch(name: str, few_images: Tensor) -> None:
    model = small(name)
    with torch.no_grad():
        model(few_images)  # moves the running statistics
        assert not torch.allclose(model(few_images)[:2], model(few_images[:2]), rtol=0.01)
        model.eval()
        whole, part = model(few_images)[:2], model(few_images[:2])
    torch.testing.assert_close(whole, part, rtol=1e-4, atol=1e-5)


def test_a_saved_model_is_loaded_unchanged(name: str, few_images: Tensor, tmp_path: Path) -> None:
    model = small(name)
    model(few_images)
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert torch.equal(
        model.predict(few_images).probabilities, loaded.predict(few_images).probabilities
    )
    assert loaded.classes == CLASSES
    assert (loaded.image_size, loaded.input_size) == (32, 32)
    save_model(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == (
        tmp_path / "again.safetensors"
    ).read_bytes()


def test_pixels_are_scaled_to_plus_minus_one_in_the_networks_layout(small_images: Tensor) -> None:
    model = small("resnet9")
    expected = small_images.float() / 127.5 - 1
    torch.testing.assert_close(model.normalised(small_images), expected, rtol=0, atol=1e-6)
    model.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        scaled = model.normalised(small_images)
    assert scaled.dtype == torch.bfloat16
    assert scaled.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(scaled, expected.double().bfloat16()), "rounded more than once"


@pytest.mark.parametrize("training", [True, False])
def test_predict_restores_the_mode(training: bool, small_images: Tensor) -> None:
    model = small("resnet9").train(training)
    before = weights_of(model)
    model.predict(small_images)
    assert model.training is training
    assert torch.equal(before, weights_of(model)), "predicting moved the running statistics"


@pytest.mark.parametrize("shape", [(32, 32), (48, 40), (20, 20)])
def test_predict_takes_images_of_any_size(shape: tuple[int, int]) -> None:
    model = small("resnet9")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 3, *shape), dtype=torch.uint8, generator=generator)
    whole = model.predict(images)
    parts = model.predict(images, batch_size=2)
    torch.testing.assert_close(whole.probabilities, parts.probabilities)
    assert whole.labels.dtype == torch.int64
    assert torch.equal(whole.confidences, whole.probabilities.amax(1))
    torch.testing.assert_close(whole.probabilities.sum(1), torch.ones(5))


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("resnet50v2", 23_585_290),  # keras.applications.ResNet50V2 and Dense(10)
        ("preact_resnet18", 11_179_978),  # 11,172,170 weights
        ("wide_resnet", 36_497_146),  # WRN-28-10: 36,479,194 weights
        ({"name": "wide_resnet", "depth": 40, "width": 2}, 2_248_954),  # 2,243,546 weights
        ("resnet9", 6_577_600),
        ("airbench", 1_975_096),
    ],
)
def test_parameters_are_counted_as_keras_counts_them(value: object, count: int) -> None:
    assert num_parameters(meta_model(options(value), len(CLASSES))) == count


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        ("resnet8", "resnet9"),
        ({"name": "resnet9", "widht": 32}, "widht"),
        ({"name": "resnet9", "width": 20}, "multiple of 8"),
        ({"name": "wide_resnet", "depth": 30}, "28 or 34"),
    ],
)
def test_a_wrong_description_is_rejected(value: object, fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        options(value)


def test_every_architecture_has_options_and_a_file_of_its_name() -> None:
    files = {path.stem for path in Path(nets.__file__).parent.glob("*.py")} - {"__init__"}
    union = get_args(ModelOptions)[0]
    assert {kind.model_fields["name"].default for kind in get_args(union)} == files | {
        "custom",
        "timm",
    }
    assert set(SMALL) == files


@pytest.mark.parametrize("name", SMALL)
def test_the_smallest_input_is_that_which_the_network_takes(name: str) -> None:
    network = small(name).network.eval()

    def is_taken(size: int) -> bool:
        try:
            return network(torch.zeros(1, 3, size, size)).shape == (1, 10)
        except RuntimeError:
            return False

    assert [takes(options(SMALL[name]), size) for size in range(1, 20)] == [
        is_taken(size) for size in range(1, 20)
    ]
