"""The handwritten digits data set that ships with scikit-learn; needs no download."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ruggedize.data.image_set import ImageSet
from ruggedize.data.split import hold_out

LARGEST_VALUE = 16  # each of the 8 x 8 values counts the dark pixels in a 4 x 4 block
NUM_TEST = 500
DIGITS_SIZE = 32


def load_digits(image_size: int | None = None) -> tuple[ImageSet, ImageSet]:
    """Return the training and test images as RGB, resized to `image_size` pixels (default 32).

    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits" (test set,
    1,797 images).
    """
    table = digits_table()
    small, labels = table[:, :-1], table[:, -1]
    size = image_size or DIGITS_SIZE
    grey = np.stack([enlarge(picture, size) for picture in small.reshape(-1, 8, 8)])
    images = torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1).contiguous()
    classes = tuple(str(digit) for digit in range(10))
    everything = ImageSet(
        images, torch.from_numpy(labels.astype(np.int64)), classes, torch.arange(len(images))
    )
    return hold_out(everything, NUM_TEST)


def digits_table() -> np.ndarray:
    """Return 1,797 rows of 64 values and a label.

    The file is read without `sklearn.datasets`, whose import takes longer than loading torch.
    """
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    with gzip.open(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz") as file:
        return np.loadtxt(file, delimiter=",")


def enlarge(picture: np.ndarray, size: int) -> np.ndarray:
    """Scale values from 0..16 to 0..255 and resize with bicubic interpolation."""
    scaled = np.rint(picture * (255 / LARGEST_VALUE)).astype(np.uint8)
    return np.asarray(Image.fromarray(scaled).resize((size, size), Image.Resampling.BICUBIC))
