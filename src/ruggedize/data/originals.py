"""The files that images come from, for views that are cropped before images are made square."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Dataset

from ruggedize.core.errors import UserError
from ruggedize.data.decode import Stored
from ruggedize.data.streaming import EncodedImages, decode_all
from ruggedize.data.workers import raise_fault, worker_results
from ruggedize.kernels.blocks import stay_in_this_thread
from ruggedize.kernels.types import Images, Index

Make = Callable[["Originals", Index], Sequence[Tensor]]
NumberedBatch = tuple[int, Int64[np.ndarray, " n"]]  # the positions of its files


@dataclass(frozen=True, eq=False)
class Originals:
    """Image files of any size, from which views are cropped.

    They stay in their files also where the stored images are in memory: the operating system
    keeps their bytes, which are a fraction of the pixels.

    Attributes:
        files: the files.
        stored: how stored images are made from them.
        made: views that have been made of them already, by request.
        asked: if a list, the requests for views are appended to it.
    """

    files: EncodedImages
    stored: Stored
    made: Mapping[Hashable, Tensor] = field(default_factory=dict)
    asked: list[object] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def select(self, positions: Int64[Tensor, " n"]) -> "Originals":
        """Return the files at these positions, in this order."""
        return Originals(self.files.select(positions.numpy()), self.stored)

    def stored_images(self) -> Images:
        """Return the images as they are stored: square, of one size."""
        images, bad = decode_all(self.files, self.stored)
        if bad:
            raise bad[min(bad)]
        return images

    def made_by(
        self, positions: Sequence[np.ndarray], index: Index, makes: Sequence[Make], num_workers: int
    ) -> Iterator[Sequence[Tensor]]:
        """Yield what is made of each batch of files.

        Args:
            positions: the files of each batch.
            index: the index of every image.
            makes: one function for each batch, called with its files and indices.
            num_workers: processes that call them, ahead of time; 0: this process does.
        """
        making = Making(self, index, makes)
        batches = list(enumerate(positions))
        if not num_workers:
            return (making.made(batch) for batch in batches)
        results = worker_results(making, batches, num_workers)
        return (tensors if not fault else [raise_fault(fault)] for tensors, fault in results)


@dataclass(frozen=True)
class Making(Dataset[Tensor]):
    """Dataset that makes something of files in a worker process."""

    originals: Originals
    index: Index
    makes: Sequence[Make]

    def made(self, batch: NumberedBatch) -> Sequence[Tensor]:
        """Return what is made of a batch."""
        number, positions = batch
        chosen = torch.from_numpy(positions)
        return self.makes[number](self.originals.select(chosen), self.index[chosen])

    def __getitems__(self, batch: NumberedBatch) -> tuple[Sequence[Tensor], str]:
        """Return what is made of a batch; an error is returned as text."""
        stay_in_this_thread()
        try:
            return self.made(batch), ""
        except UserError as error:
            return (), str(error)
