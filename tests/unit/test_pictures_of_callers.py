"""Pictures that callers pass: turned as their EXIF data say, and left as they are."""

import numpy as np
import pytest
from PIL import Image

from ruggedize import corrupt, randaugment
from ruggedize.kernels.pictures import ORIENTATION
from ruggedize.transforms import RandomResizedCrop
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
