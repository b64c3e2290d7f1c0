"""Suites on disk, in the layouts of CIFAR-10-C and ImageNet-C; a guard against pickles."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ruggedize.corruptions import corrupt, export_suite, generated_suite
from ruggedize.data import ImageSet

NAMES = ("shot_noise", "brightness")


@pytest.fixture
def nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where timm or torch would open a pickle."""
    monkeypatch.setattr("torch.load", None)
    monkeypatch.setattr("torch.jit.load", None)
    monkeypatch.setattr("pickle.load", None)


@pytest.fixture(scope="module")
def image_set(small_images: torch.Tensor) -> ImageSet:
    labels = torch.arange(24) * 3 // 24  # sorted by class, as folders are
    return ImageSet(small_images, labels, ("a", "b", "c"), torch.arange(24))


@pytest.fixture
def arrays(image_set: ImageSet, tmp_path: Path) -> Path:
    """Write a suite in the layout of CIFAR-10-C."""
    folder = tmp_path / "TINY-C"
    suite = generated_suite(image_set.images)
    export_suite(suite, image_set, folder, data="tiny", corruptions=NAMES)
    return folder


@pytest.fixture
def class_folders(image_set: ImageSet, tmp_path: Path) -> Path:
    """Write the mildest corruption in the layout of ImageNet-C, losslessly, at twice the size."""
    folder = tmp_path / "TINY-FOLDERS-C"
    for severity in range(1, 6):
        images = corrupt(image_set.images, "brightness", severity)
        for place, image in enumerate(images):
            name = image_set.classes[image_set.labels[place]]
            path = folder / "brightness" / str(severity) / name / f"{place:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
            picture.resize((64, 64), Image.Resampling.NEAREST).save(path)
    return folder
