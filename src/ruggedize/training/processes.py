"""The processes that share a training."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.locking import only_writer
from ruggedize.runs import UserError


def sum_over_processes(accelerator: Accelerator) -> Callable[[Tensor], Tensor]:
    """Give the reduction that makes every process know the sum."""
    if accelerator.num_processes == 1:
        return lambda value: value
    return lambda value: accelerator.reduce(value, reduction="sum")  # pyright: ignore


@contextmanager
def first_process_writes(accelerator: Accelerator, folder: Path) -> Iterator[None]:
    """Let the first process hold a folder for all; where it may not, none goes on."""
    with ExitStack() as held:
        refusal = None
        if accelerator.is_main_process:
            try:
                held.enter_context(only_writer(folder))
            except (UserError, OSError) as error:
                refusal = error
        refused = torch.tensor([float(refusal is not None)], device=accelerator.device)
        if sum_over_processes(accelerator)(refused):
            raise refusal or UserError(f"the first process may not write {folder}; see its message")
        yield
