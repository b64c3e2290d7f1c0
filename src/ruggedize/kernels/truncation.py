"""From a float to a pixel as the corruption scripts do it."""

import numpy as np

from ruggedize.kernels.kernel import kernel

GUARD = 1e-3  # 99.9999 is 100 but for rounding errors, which differ between implementations


@kernel
def truncated(value):
    """Clip to 0..255 and drop the fraction: not rounded.

    Source: the CIFAR-10-C script, `np.uint8(np.clip(x, 0, 1) * 255)`.
    Deviation: what lies within 0.001 below a whole number counts as that number.
    """
    return np.uint8(np.int32(min(max(value + GUARD, 0.0), 255.0)))
