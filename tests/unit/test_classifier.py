"""Any network can be wrapped in a classifier, with its own normalisation, and saved."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.models import Classifier, load_model, save_model

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def classifier(seed: int = 0, **changes: object) -> Classifier:
    return Classifier(network(seed), classes=("a", "b", "c", "d"), input_size=32, **changes)


def test_the_default_normalisation_is_one_half(small_images: Tensor) -> None:
    half = classifier(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert torch.equal(classifier().normalised(small_images), half.normalised(small_images))
    expected = (small_images / 255 - 0.5) / 0.5
    torch.testing.assert_close(half.normalised(small_images), expected, rtol=0, atol=1e-6)


def test_custom_mean_and_std_are_applied_to_each_channel(small_images: Tensor) -> None:
    found = classifier(**IMAGENET).normalised(small_images)
    mean, std = (torch.tensor(IMAGENET[key])[:, None, None] for key in ("mean", "std"))
    torch.testing.assert_close(found, (small_images / 255 - mean) / std, rtol=0, atol=1e-5)
    assert not torch.allclose(found, classifier().normalised(small_images), atol=0.1)


def test_custom_normalisation_is_rounded_once_in_bfloat16(small_images: Tensor) -> None:
    model = classifier(**IMAGENET)
    exact = model.normalised(small_images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.normalised(small_images), exact.bfloat16())


def test_a_custom_network_can_be_loaded_from_its_file(small_images: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = classifier(1, image_size=48, **IMAGENET)
    save_model(model, path)
    loaded = load_model(path, network=network(2))
    assert (loaded.classes, loaded.image_size, loaded.mean) == (model.classes, 48, model.mean)
    expected = model.predict(small_images).probabilities
    assert torch.equal(loaded.predict(small_images).probabilities, expected)
    assert not torch.equal(classifier(2).predict(small_images).probabilities, expected)


def test_a_file_of_a_custom_network_needs_the_network(tmp_path: Path) -> None:
    save_model(classifier(), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"pass it from Python"):
        load_model(tmp_path / "model.safetensors")


def test_a_network_with_other_weights_is_rejected(tmp_path: Path) -> None:
    save_model(classifier(), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"custom with 4 classes, but 0\.bias is"):
        load_model(tmp_path / "model.safetensors", network=nn.Sequential(nn.Conv2d(3, 5, 3)))
