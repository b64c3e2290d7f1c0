"""Indices of the pixels that stand in for those beyond the edge."""

from ruggedize.kernels.kernel import kernel


@kernel
def mirrored(i, size):
    """Reflect an index as ... 2 1 | 0 1 2 ... (the edge pixel is not repeated)."""
    if size == 1:
        return 0
    i %= 2 * size - 2
    return i if i < size else 2 * size - 2 - i


@kernel
def reflected(i, size):
    """Reflect an index as ... 1 0 | 0 1 2 ... (the edge pixel is repeated)."""
    i %= 2 * size
    return i if i < size else 2 * size - 1 - i
