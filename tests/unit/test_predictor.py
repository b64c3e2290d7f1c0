"""What a predictor feeds to a model, and what it reads out of its scores."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ruggedize.core.errors import UserError
from ruggedize.models import Classifier, Predictor
from ruggedize.models.classifier import reject_impossible, reject_unknown
from ruggedize.models.predictor import IMAGENET_MEAN, IMAGENET_STD, KNOWN
from tests.foreign import ColourNetwork, colour_images, with_timm

IMAGES = colour_images().images


def seen_by(**contract) -> torch.Tensor:
    """Return what a function gets to see of the images."""
    seen = []

    def note(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels)
        return torch.zeros(len(pixels), 3)

    predictor = Predictor(note, **contract)
    predictor.logits(predictor.view(IMAGES))
    return seen[0]


def test_a_function_gets_the_stored_bytes() -> None:
    assert torch.equal(seen_by(), IMAGES)
    assert seen_by().dtype == torch.uint8


def test_a_module_gets_pixels_normalised_by_imagenets_mean_unless_told_otherwise() -> None:
    class Noting(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            self.seen = pixels
            return torch.zeros(len(pixels), 3)

    for own, (mean, std) in {
        (): (IMAGENET_MEAN, IMAGENET_STD),
        (("mean", (0.1, 0.2, 0.3)), ("std", (0.5, 0.6, 0.7))): ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)),
    }.items():
        network = Noting()
        Predictor(network, **dict(own)).logits(IMAGES)
        shaped = [torch.tensor(each).reshape(1, 3, 1, 1) for each in (mean, std)]
        wanted = (IMAGES / 255 - shaped[0]) / shaped[1]
        torch.testing.assert_close(network.seen, wanted, rtol=1e-5, atol=1e-5)


def test_channels_and_layout_are_as_the_model_takes_them() -> None:
    assert torch.equal(seen_by(channels="bgr"), IMAGES.flip(1))
    assert torch.equal(seen_by(layout="nhwc"), IMAGES.permute(0, 2, 3, 1))
    mean, std = (0.1, 0.2, 0.3), (1.0, 1.0, 1.0)
    blue_first = seen_by(channels="bgr", mean=mean, std=std)
    assert torch.allclose(blue_first, seen_by(mean=mean, std=std).flip(1))


def test_resizing_is_pillows_and_the_middle_is_cut_out() -> None:
    found = seen_by(input_size=20, resize=24, interpolation="bicubic")
    for image, own in zip(IMAGES, found, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((24, 24), 3)
        assert np.array_equal(np.asarray(picture)[2:22, 2:22], own.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "resnet18.tv_in1k", "vit_tiny_patch16_224"])
def test_the_view_of_a_timm_model_is_that_of_its_own_transform(name: str) -> None:
    with_timm()
    import timm
    from timm.data import create_transform, resolve_data_config

    from ruggedize.models.timm_models import predictor_of

    network = timm.create_model(name, pretrained=False)
    config = resolve_data_config({}, pretrained_cfg=network.pretrained_cfg)
    transform = create_transform(**config, is_training=False)
    predictor = predictor_of(timm, network)
    stored = colour_images(3, size=300).images
    views = predictor.view(stored)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (predictor.mean, predictor.std))
    ours = (views / 255 - mean) / std
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in stored]
    theirs = torch.stack([transform(picture) for picture in pictures])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(predictor.view(stored.flip(3)) / 255, views / 255)


def test_the_logarithm_of_probabilities_gives_them_back() -> None:
    shares = torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.2, 0.7]])
    logits = Predictor(lambda _: shares, output="probabilities").logits(IMAGES[:2])
    torch.testing.assert_close(logits.softmax(1), shares)
    assert torch.isfinite(logits).all()


def test_scores_that_are_no_probabilities_are_rejected() -> None:
    predictor = Predictor(lambda images: torch.ones(len(images), 3), output="probabilities")
    with pytest.raises(UserError, match="must be probabilities"):
        predictor.logits(IMAGES)


@pytest.mark.parametrize("shape", [(24,), (24, 1), (3, 24), (24, 3, 1)])
def test_scores_of_another_shape_are_rejected(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"scores must be \[n, k\]"):
        Predictor(lambda _: torch.zeros(shape)).logits(IMAGES)


def test_numpy_scores_are_taken() -> None:
    found = Predictor(lambda images: np.ones((len(images), 2))).logits(IMAGES)
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ({"mean": (0.5, 0.5, 0.5)}, "mean and std must be set together"),
        ({"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.0, 0.5)}, "std must be positive"),
        ({"input_size": 32, "resize": 24}, "resize must be at least input_size = 32, got 24"),
        ({"classes": "abc"}, "classes must be a list of names"),
        ({"input_size": 0}, "input_size must be at least 1, got 0"),
    ],
)
def test_a_contract_that_contradicts_itself_is_rejected(contract, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictor(ColourNetwork(), **contract)


@pytest.mark.parametrize("name", KNOWN)
def test_words_that_an_option_does_not_know_are_rejected(name: str) -> None:
    """Python does not check types, and any other word would mean the default."""
    words = [word for word in KNOWN[name] if word]
    reject_unknown(name, words[-1], KNOWN[name])
    with pytest.raises(ValueError, match=f"{name} must be one of {', '.join(words)}, got 'X'"):
        reject_unknown(name, "X", KNOWN[name])


def test_a_class_is_needed_for_each_logit() -> None:
    model = Classifier(ColourNetwork(), classes=("a", "b"), input_size=16)
    with pytest.raises(ValueError, match="3 logits for 2 classes"):
        model.predict(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, None, "crop", 1.0, "tf"), "at least 1, got 0"),
        ((8, 0, "crop", 1.0, "tf"), "at least 1, got 8 and 0"),
        ((16, None, "crop", 1.5, "tf"), r"crop_pct must be in 0\.1\.\.1, got 1\.5"),
        ((16, None, "crop", 1.0, "lanczos"), "test_filter must be one of tf, bilinear"),
        ((16, None, "stretch", 1.0, "tf"), "fit must be one of crop, pad, squash"),
    ],
)
def test_a_classifier_of_impossible_views_is_rejected(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reject_impossible(*values)
    if "one of" not in message:
        size, image_size, _, crop_pct, _ = values
        options = {"input_size": size, "image_size": image_size, "crop_pct": crop_pct}
        with pytest.raises(ValueError, match=message):
            Classifier(ColourNetwork(), classes=("a", "b", "c"), **options)
