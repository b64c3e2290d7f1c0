"""The sheet of views shows the very pixels that training sees, beside the right names."""

import numpy as np
import pytest
import torch

from evenkeel.data import ImageSet
from evenkeel.views.options import AdditiveNoiseOptions, ViewOptions
from evenkeel.views.pairs import ViewMaker
from evenkeel.views.sheet import GAP, LABEL, MARGIN, TITLE, view_sheet

OPTIONS = ViewOptions(resize=48, crop=36, noise=(AdditiveNoiseOptions(),))


@pytest.fixture
def image_set(small_images: torch.Tensor) -> ImageSet:
    labels = torch.tensor([0, 1, -1] * 8)
    return ImageSet(small_images, labels, ("disc", "plane"), torch.arange(24) + 50)


def test_sheet_shows_the_views_of_training(image_set: ImageSet) -> None:
    maker = ViewMaker(OPTIONS, image_size=32, seed=0)
    sheet = np.asarray(view_sheet(image_set, maker, epoch=3))
    spread = image_set.take([0, 2, 5, 8, 10, 13, 16, 18, 21])  # folders are sorted by class
    clean, noisy = maker.pair(spread.images, spread.index, 3)
    cell = 144
    half = sheet.shape[1] // 2
    for place in range(9):
        row, column = divmod(place, 3)
        top = MARGIN + TITLE + row * (cell + LABEL + GAP)
        for start, views in ((0, clean), (half, noisy)):
            left = start + MARGIN + column * (cell + GAP)
            shown = sheet[top : top + cell : 4, left : left + cell : 4]
            assert np.array_equal(shown, views[place].permute(1, 2, 0).numpy())


def test_sheet_of_fewer_than_nine_images_is_smaller(image_set: ImageSet) -> None:
    maker = ViewMaker(OPTIONS, image_size=32, seed=0)
    whole = view_sheet(image_set, maker)
    part = view_sheet(image_set.take([0, 1]), maker)
    assert part.width == whole.width
    assert part.height < whole.height
