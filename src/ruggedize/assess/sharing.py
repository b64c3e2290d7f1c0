"""Division of an assessment's images between processes; each image belongs to one of them."""

from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.assess.cells import Chosen
from ruggedize.assess.metrics import Outcomes

Kept = dict[tuple[str, int], Outcomes]  # outcomes of a model by cell


class Shares(NamedTuple):
    """Division of images: process `rank` of `num_processes` has one contiguous share."""

    accelerator: Accelerator | None
    rank: int
    num_processes: int

    @classmethod
    def of(cls, accelerator: Accelerator | None) -> "Shares":
        """Build the shares for an accelerator's processes; None: one process has all images."""
        if accelerator is None or accelerator.num_processes == 1:
            return cls(None, 0, 1)
        return cls(accelerator, accelerator.process_index, accelerator.num_processes)

    def sizes(self, n: int) -> list[int]:
        """Return the number of images of each process; they differ by at most one."""
        whole, rest = divmod(n, self.num_processes)
        return [whole + (rank < rest) for rank in range(self.num_processes)]

    def agree(self, value: bool) -> bool:
        """Return whether a value is true in every process."""
        if self.accelerator is None:
            return value
        found = self.accelerator.gather(torch.tensor([value], device=self.accelerator.device))
        assert isinstance(found, Tensor)
        return bool(found.all())

    def own(self, chosen: Chosen) -> Chosen:
        """Return this process's share of the images."""
        sizes = self.sizes(len(chosen.positions))
        start = sum(sizes[: self.rank])
        return Chosen(*(part[start : start + sizes[self.rank]] for part in chosen))

    def joined(self, kept: Kept, num_images: dict[tuple[str, int], int]) -> Kept:
        """Return the outcomes of all processes, in the order of the images, in every process."""
        if self.accelerator is None:
            return kept
        return {
            cell: Outcomes(*(self.gathered(part, num_images[cell]) for part in outcomes))
            for cell, outcomes in kept.items()
        }

    def gathered(self, part: np.ndarray, n: int) -> np.ndarray:
        """Return the n rows of all processes.

        Collective operations need equal shapes, and NCCL does not support int16.
        """
        assert self.accelerator is not None
        sizes = self.sizes(n)
        dtype = torch.int32 if part.dtype == np.int16 else torch.float32
        padded = torch.zeros(max(sizes), *part.shape[1:], dtype=dtype)
        padded[: len(part)] = torch.from_numpy(part)
        rows = self.accelerator.gather(padded.to(self.accelerator.device))
        assert isinstance(rows, Tensor)
        each = rows.cpu().split(max(sizes)) if max(sizes) else [rows.cpu()]
        whole = torch.cat([own[:size] for own, size in zip(each, sizes, strict=True)])
        return whole.numpy().astype(part.dtype)
