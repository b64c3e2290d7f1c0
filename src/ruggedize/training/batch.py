"""What one step works on: tensors by source and name, and what its terms are divided by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ruggedize.data import ImageBatch

LABELLED, UNLABELLED = "labelled", "unlabelled"  # sources of images
IMAGES = "images"  # the count of all images of the source "labelled"


@dataclass(frozen=True)
class Batch:
    """One process's share of a step, made on the CPU by an objective.

    Args:
        tensors: by source and name, `[n, ...]` with one row for each image of the source.
        counts: what the terms of the loss are divided by, after they are summed over the
            processes, by name. They may not depend on the model: they are needed before its
            gradient is computed.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    counts: Mapping[str, int]

    def __getitem__(self, source: str) -> Mapping[str, Tensor]:
        return self.tensors[source]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; the copy may still be under way."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Batch":
        """Return the batch in memory that a GPU reads while it computes."""
        return self._changed(Tensor.pin_memory)

    def split(self, num_parts: int, ghost_batches: int = 1) -> list["Batch"]:
        """Return micro-batches with the same ratio of sources; counts are those of the whole.

        The batch is divided as ghost batch norm divides it, and each micro-batch gets
        `ghost_batches` neighbouring parts, so that the same images are normalised together.
        """
        parts = {
            source: {
                name: grouped(tensor, num_parts, ghost_batches) for name, tensor in named.items()
            }
            for source, named in self.tensors.items()
        }
        return [
            replace(
                self,
                tensors={
                    source: {name: pieces[number] for name, pieces in named.items()}
                    for source, named in parts.items()
                },
            )
            for number in range(num_parts)
        ]

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        tensors = {
            source: {name: change(tensor) for name, tensor in named.items()}
            for source, named in self.tensors.items()
        }
        return replace(self, tensors=tensors)


def grouped(tensor: Tensor, num_groups: int, each: int) -> list[Tensor]:
    """Divide a tensor into equal parts (or one less), and join `each` neighbours to a group."""
    sizes = [len(part) for part in tensor.tensor_split(num_groups * each)]
    return list(tensor.split([sum(sizes[n : n + each]) for n in range(0, len(sizes), each)]))


def counts_of(part: ImageBatch) -> dict[str, int]:
    """Return the number of images, and of those that have a label."""
    return {IMAGES: len(part), LABELLED: int((part.labels >= 0).sum())}
