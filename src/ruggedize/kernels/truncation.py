"""Conversion of floats to pixels, as in the corruption scripts."""

import numpy as np

from ruggedize.kernels.kernel import kernel

GUARD = 1e-3  # treats 99.9999 as 100, because rounding errors differ between implementations


@kernel
def truncated(value):
    """Clip to 0..255 and truncate to uint8.

    Source: the CIFAR-10-C script, `np.uint8(np.clip(x, 0, 1) * 255)`.
    Deviation: values less than 0.001 below an integer count as that integer.
    """
    return np.uint8(np.int32(min(max(value + GUARD, 0.0), 255.0)))
