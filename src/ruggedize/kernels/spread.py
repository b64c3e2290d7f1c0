"""Some of many images, taken evenly: folders of images are sorted by class."""

import numpy as np
from jaxtyping import Int64


def evenly_spread(n: int, number: int) -> Int64[np.ndarray, " m"]:
    """Return up to `number` distinct positions in 0..n-1, in ascending order.

    Two neighbours are at most `ceil(n / number)` apart, so a class of as many images in a row is
    never skipped. Nothing is drawn at random.
    """
    number = min(n, number)
    return np.arange(number, dtype=np.int64) * n // max(1, number)
