"""Evenly spaced samples of image sets, which are often sorted by class."""

import numpy as np
from jaxtyping import Int64


def evenly_spread(n: int, number: int) -> Int64[np.ndarray, " m"]:
    """Return up to `number` evenly spaced positions in 0..n-1, in ascending order.

    Adjacent positions are at most `ceil(n / number)` apart, so that every run of as many images of
    one class is sampled.
    """
    number = min(n, number)
    return np.arange(number, dtype=np.int64) * n // max(1, number)
