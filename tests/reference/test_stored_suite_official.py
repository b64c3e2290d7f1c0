"""The official code's images, as files, pair with the test images that they were made of."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.corruptions import stored_suite
from ruggedize.corruptions.names import ALL
from ruggedize.corruptions.stored import LARGEST_DISTANCE, PROBES, distance
from ruggedize.data import ImageSet
from ruggedize.data.cifar import CIFAR10


@pytest.fixture
def official(
    tmp_path: Path,
    official_corruptions: np.lib.npyio.NpzFile,
    cifar10_test: tuple[torch.Tensor, torch.Tensor],
) -> Path:
    """Write the official images of the first 100 test images in the official layout."""
    for name in ALL:
        np.save(tmp_path / f"{name}.npy", official_corruptions[name].reshape(500, 32, 32, 3))
    np.save(tmp_path / "labels.npy", np.tile(cifar10_test[1][:100].numpy().astype(np.uint8), 5))
    return tmp_path


@pytest.fixture
def image_set(cifar10_test: tuple[torch.Tensor, torch.Tensor]) -> ImageSet:
    images, labels = cifar10_test
    assert CIFAR10.classes is not None
    return ImageSet(images[:100], labels[:100], CIFAR10.classes, torch.arange(100))


def test_the_official_images_pair(official: Path, image_set: ImageSet) -> None:
    suite = stored_suite(official, image_set)
    assert suite.unpaired is None
    assert suite.corruptions == ALL


@pytest.mark.parametrize("probe", PROBES)
def test_each_probe_tells_the_same_image_from_another(
    probe: str, official: Path, image_set: ImageSet
) -> None:
    suite = stored_suite(official, image_set)
    same = [distance(suite, probe, place, image_set) for place in range(100)]
    turned = image_set.select(torch.arange(100).roll(1))
    another = [distance(suite, probe, place, turned) for place in range(100)]
    assert max(same) < 0.1
    assert min(another) > 1.5 * LARGEST_DISTANCE
