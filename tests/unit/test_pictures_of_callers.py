"""Pictures that callers pass: turned as their EXIF data say, and left as they are."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ruggedize import corrupt, randaugment
from ruggedize.kernels.pictures import ORIENTATION, upright_copy
from ruggedize.models import Classifier
from ruggedize.transforms import RandAugment, RandomResizedCrop
from tests.photographs import photograph


@pytest.fixture
def turned() -> Image.Image:
    """A picture whose EXIF data say that it lies on its side."""
    picture = photograph(60, 40, 0)
    picture.getexif()[ORIENTATION] = 6
    return picture


def test_the_caller_s_picture_is_not_modified(turned: Image.Image) -> None:
    before = turned.tobytes()
    shapes = [corrupt(turned, "contrast", 1), randaugment(turned, seed=0)]
    assert [np.asarray(shape).shape[-2:] for shape in shapes] != [(40, 60)] * 2
    assert (turned.size, turned.tobytes()) == ((60, 40), before)
    assert turned.getexif()[ORIENTATION] == 6


def test_a_crop_is_cut_out_of_the_upright_picture_on_white(turned: Image.Image) -> None:
    crop = RandomResizedCrop(32, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    upright = turned.transpose(Image.Transpose.ROTATE_270)
    ours, expected = (crop([each], seed=0, index=[0]) for each in (turned, upright))
    assert ours.equal(expected)
    clear = Image.new("RGB", (8, 8), (9, 9, 9))
    clear.info["transparency"] = (9, 9, 9)
    assert crop([clear]).min() == 255


def test_predicting_leaves_the_picture_and_the_modes_of_layers_as_they_are(
    turned: Image.Image,
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    network(torch.zeros(2, 3, 16, 16))
    model = Classifier(network, classes=("a", "b"), input_size=16).train()
    network[1].eval()  # frozen
    model.predict(turned)
    assert (turned.size, turned.getexif()[ORIENTATION]) == ((60, 40), 6)
    assert [each.training for each in network] == [True, False, True, True]


def test_numbers_without_a_range_do_not_become_black() -> None:
    floats = Image.fromarray(np.full((8, 8), 0.5, np.float32))
    with pytest.raises(ValueError, match="floating-point numbers"):
        corrupt(floats, "contrast", 1)
    levels = np.arange(64, dtype=np.int32).reshape(8, 8) * 4
    small, large = (upright_copy(Image.fromarray(each)) for each in (levels, levels * 257))
    assert np.array_equal(np.asarray(small)[..., 0], levels)
    assert np.array_equal(np.asarray(large)[..., 0], levels)


def test_an_epoch_that_is_no_whole_number_is_rejected() -> None:
    """As text, True is not 1, so that all draws would differ."""
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="epoch must be a whole number"):
        RandAugment()(image, seed=0, epoch=True, index=0)
