"""A network's buffers (batch-norm statistics), kept so that a step which failed can be undone."""

import torch
from torch import Tensor, nn


class Buffers:
    """A copy of all buffers as they were when it was last kept."""

    def __init__(self, model: nn.Module) -> None:
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for buffer in model.buffers():
            kinds.setdefault(buffer.dtype, []).append(buffer)
        self.kinds = [(own, [buffer.clone() for buffer in own]) for own in kinds.values()]

    def keep(self) -> None:
        """Copy the buffers: a kernel or two, whatever their number."""
        for own, copies in self.kinds:
            torch._foreach_copy_(copies, own)  # pyright: ignore

    def restore(self) -> None:
        """Put the copy back."""
        for own, copies in self.kinds:
            torch._foreach_copy_(own, copies)  # pyright: ignore
