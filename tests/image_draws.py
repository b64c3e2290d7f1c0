"""The random numbers of one image, for oracles that repeat the draws of a kernel."""

import numpy as np

from ruggedize.kernels import draws


class Draws:
    """Uniform numbers and integers by counter."""

    def __init__(self, stream: np.uint64, index: int) -> None:
        self.key = np.uint64(draws.image_key(stream, np.int64(index)))

    def uniform(self, counter: int) -> float:
        return float(draws.uniform(self.key, counter))

    def integer(self, counter: int, n: int) -> int:
        return int(draws.integer(self.key, counter, n))

    def bits(self, counter: int) -> int:
        return int(draws.bits(self.key, counter))
