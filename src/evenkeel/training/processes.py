"""The processes that share a training."""

from collections.abc import Callable

from accelerate import Accelerator
from torch import Tensor


def sum_over_processes(accelerator: Accelerator) -> Callable[[Tensor], Tensor]:
    """Give the reduction that makes every process know the sum."""
    if accelerator.num_processes == 1:
        return lambda value: value
    return lambda value: accelerator.reduce(value, reduction="sum")  # pyright: ignore
