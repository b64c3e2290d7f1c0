"""Which pixel stands for one beyond the edge."""

from ruggedize.kernels.kernel import kernel


@kernel
def mirrored(i, size):
    """Continue ... 2 1 | 0 1 2 ... : the edge pixel itself is not repeated."""
    if size == 1:
        return 0
    i %= 2 * size - 2
    return i if i < size else 2 * size - 2 - i


@kernel
def reflected(i, size):
    """Continue ... 1 0 | 0 1 2 ... : the edge pixel is repeated."""
    i %= 2 * size
    return i if i < size else 2 * size - 1 - i
