"""The fitted first layer of airbench against its definition, written out slowly."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ruggedize.kernels.spread import evenly_spread
from ruggedize.models import AirbenchOptions, create_model
from ruggedize.models.nets.airbench import EXTRA_VARIANCE, NUM_FILTERS, Airbench
from ruggedize.models.registry import NUM_FIT_IMAGES

CLASSES = ("a", "b", "c")


def fitted(images: Tensor) -> Airbench:
    network = create_model(AirbenchOptions(width=8), CLASSES, 32, 32, 0, images).network
    assert isinstance(network, Airbench)
    return network


def patches_of(images: Tensor) -> np.ndarray:
    """Cut every 2x2 patch out of normalised images: float64 `[patches, 12]`."""
    pixels = (images.numpy().astype(np.float64) - 127.5) / 127.5
    rows, columns = range(pixels.shape[2] - 1), range(pixels.shape[3] - 1)
    patches = [pixels[:, :, y : y + 2, x : x + 2] for y in rows for x in columns]
    return np.stack(patches, axis=1).reshape(-1, 12)


def test_the_filters_make_patches_uncorrelated_and_of_unit_size(small_images: Tensor):
    network = fitted(small_images)
    filters = network.whitening.weight[: NUM_FILTERS // 2].reshape(12, 12).double().numpy()
    patches = patches_of(small_images)
    answers = patches @ filters.T
    second_moments = answers.T @ answers / len(answers)
    variances = np.linalg.eigvalsh(patches.T @ patches / len(patches))
    expected = np.diag(variances / (variances + EXTRA_VARIANCE))
    np.testing.assert_allclose(second_moments, expected, atol=1e-4)
    other = patches_of(small_images // 2) @ filters.T
    assert not np.allclose(other.T @ other / len(other), expected, atol=1e-2)  # it bites


def test_every_filter_has_its_opposite_and_none_is_learnt(small_images: Tensor):
    network = fitted(small_images)
    first, second = network.whitening.weight.chunk(2)
    assert torch.equal(first, -second)
    assert "whitening.weight" not in dict(network.named_parameters())
    assert "whitening.weight" in network.state_dict()


def test_the_signs_of_the_filters_are_decided(small_images: Tensor):
    first = fitted(small_images).whitening.weight[:12].reshape(12, 12)
    largest = first.gather(1, first.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


@pytest.mark.parametrize("num_images", [2_500, 3_999, 5_999, 5 * NUM_FIT_IMAGES])
def test_images_in_the_order_of_their_classes_are_sampled_evenly(num_images: int):
    classes = (torch.arange(num_images) * 10 // num_images).to(torch.uint8)
    images = classes.reshape(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    chosen = images[torch.from_numpy(evenly_spread(num_images, NUM_FIT_IMAGES))]
    counts = torch.bincount(chosen[:, 0, 0, 0].long(), minlength=10)
    assert len(chosen) == NUM_FIT_IMAGES
    assert counts.max() - counts.min() <= 2
    first = torch.bincount(images[:NUM_FIT_IMAGES, 0, 0, 0].long(), minlength=10)
    assert first.max() - first.min() > 200  # it bites


def test_without_images_it_is_not_built():
    with pytest.raises(ValueError, match=r"fit its first layer.*\n.*images="):
        create_model(AirbenchOptions(width=8), CLASSES, 32, 32, 0)


def test_new_convolutions_pass_their_input_on(small_images: Tensor):
    network = fitted(small_images)
    features = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    wider = network.block2.first(features)
    torch.testing.assert_close(wider[:, :8], features)
    assert not torch.allclose(wider[:, 8:16], features)
