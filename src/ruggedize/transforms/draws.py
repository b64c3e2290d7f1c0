"""The seed and indices of a transform's random draws: the caller's, or from torch's generator."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ruggedize.kernels.inputs import whole_number

LARGEST_SEED = 2**62
Indices = int | Sequence[int] | np.ndarray | Tensor


def drawn_seed(seed: int | None, epoch: int, index: Indices | None) -> int:
    """Return the caller's seed, or one from torch's generator.

    Raises:
        ValueError: only one of seed and index is given, or an epoch alone, or one of them is not a
            whole number.
    """
    whole_number(epoch, "epoch", 0)
    if (seed is None) != (index is None) or (seed is None and epoch):
        raise ValueError(
            f"seed and index belong together, got seed={seed}, epoch={epoch} and index="
            f"{'None' if index is None else '...'};\ngive both, e.g. seed=0, epoch=epoch, "
            "index=index, or neither to draw from torch's generator"
        )
    if seed is None:
        return int(torch.randint(LARGEST_SEED, ()))
    return whole_number(seed, "seed", 0)


def indices_of(index: Indices | None, n: int) -> np.ndarray:
    """Return the index of each of n images, int64 `[n]`; 0..n-1 if none is given."""
    if index is None:
        return np.arange(n)
    found: Any = index.numpy() if isinstance(index, Tensor) else np.asarray(index)
    if found.dtype.kind not in "iu" or found.size != n:
        raise ValueError(
            f"index must hold one whole number for each of {n} images, got {found.dtype} "
            f"{list(found.shape)};\npass the positions of the images in their data set"
        )
    return np.ascontiguousarray(found.reshape(n), np.int64)
