"""Randomness that belongs to (seed, purpose, epoch, image), never to a batch or a process."""

import hashlib

import numpy as np


def stream_key(seed: int, purpose: str, epoch: int = 0) -> np.uint64:
    """Name a stream of random values; `images.draws` turns it into one stream per image."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{epoch}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Return numpy's generator for choices made once (an order, a subset), not per image."""
    return np.random.default_rng(int(stream_key(seed, purpose, epoch)))


def image_generator(stream: np.uint64, index: int | np.int64) -> np.random.Generator:
    """Return numpy's generator for one image of a stream: the same in any batch and thread."""
    return np.random.default_rng((int(stream), int(index)))


def order(seed: int, purpose: str, epoch: int, n: int) -> np.ndarray:
    """Return the order in which an epoch visits `n` images: int64 `[n]`."""
    return generator(seed, purpose, epoch).permutation(n)
