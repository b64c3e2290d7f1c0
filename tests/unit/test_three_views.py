"""The three views of jsd: one flip and crop for all of them if the geometry is shared."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.data import DataOptions, ImageBatch, load_splits
from ruggedize.train.objectives.jsd import three_views
from ruggedize.views import AdditiveNoiseOptions, ViewMaker, ViewOptions
from tests.foreign import colour_folder

NOISE = (AdditiveNoiseOptions(std=0.05),)


def views_of(images: torch.Tensor, *, is_noisy: bool, geometry: str) -> torch.Tensor:
    options = ViewOptions.model_validate(
        {"pad": 4, "geometry": geometry, "noise": NOISE if is_noisy else ()}
    )
    maker = ViewMaker(options, image_size=32, seed=3)
    labels = torch.zeros(len(images), dtype=torch.long)
    batch = ImageBatch(images, labels, torch.arange(len(images)), None)
    return three_views(batch, maker, 5)


def test_shared_geometry_is_that_of_all_three_views(small_images: torch.Tensor) -> None:
    clean, first, second = views_of(small_images, is_noisy=False, geometry="shared").unbind(1)
    assert torch.equal(clean, first)
    assert torch.equal(clean, second)


def test_independent_geometry_is_drawn_for_each_view(small_images: torch.Tensor) -> None:
    views = views_of(small_images, is_noisy=False, geometry="independent").unbind(1)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        same = (views[one] == views[other]).flatten(1).all(1).float().mean()
        assert same < 0.5


def test_the_second_noisy_view_has_noise_of_its_own(small_images: torch.Tensor) -> None:
    clean, first, second = views_of(small_images, is_noisy=True, geometry="shared").int().unbind(1)
    middle = (clean > 60) & (clean < 195)  # not clipped
    one, other = ((each - clean)[middle].float() for each in (first, second))
    assert one.std() > 5
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.05


@pytest.mark.parametrize("is_noisy", [False, True])
def test_views_cut_from_files_are_shared_too(tmp_path: Path, is_noisy: bool) -> None:
    place = colour_folder(tmp_path / "pictures", ("train", "test"), n=6)
    data = load_splits(DataOptions(name=str(place), image_size=32, validation=0.2))
    options = ViewOptions.model_validate(
        {
            "crop_mode": "random-resized",
            "crop": 24,
            "geometry": "shared",
            "noise": NOISE if is_noisy else (),
        }
    )
    maker = ViewMaker(options, image_size=32, seed=3)
    originals = data.train.originals
    assert originals is not None
    index = torch.arange(len(data.train))
    second = maker.with_other_noise(8)
    clean, noisy = maker.pair(originals, index, 1)
    other = second.noisy(originals, index, 1)
    assert torch.equal(clean, noisy) == torch.equal(noisy, other) == (not is_noisy)
    assert np.abs(clean.numpy().astype(int) - other.numpy()).mean() < 20
