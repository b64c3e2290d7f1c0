"""Random streams keyed by seed, purpose, epoch and image, so that batching does not matter."""

import hashlib
import operator

import numpy as np


def stream_key(seed: int, purpose: str, epoch: int = 0) -> np.uint64:
    """Return the key of a random stream; `kernels.draws.image_key` derives one per image.

    Raises:
        TypeError: seed or epoch is not a whole number, so that equal values could differ as text.
    """
    seed, epoch = operator.index(seed), operator.index(epoch)
    digest = hashlib.blake2b(f"{seed}/{purpose}/{epoch}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Return a NumPy generator for draws that are not per image, such as a shuffle or a subset."""
    return np.random.default_rng(int(stream_key(seed, purpose, epoch)))


def image_generator(stream: np.uint64, index: int | np.int64) -> np.random.Generator:
    """Return a NumPy generator for one image, which depends only on the stream and the index."""
    return np.random.default_rng((int(stream), int(index)))


def order(seed: int, purpose: str, epoch: int, n: int) -> np.ndarray:
    """Return the shuffled order of `n` images in an epoch: int64 `[n]`."""
    return generator(seed, purpose, epoch).permutation(n)
