"""Precomputed teacher logits, for clean views of which there are few."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float32, Int64
from torch import Tensor

from ruggedize.core.progress import Progress
from ruggedize.data import ImageSet
from ruggedize.kernels.types import Images, Views
from ruggedize.models import (
    Classifier,
    Precision,
    autocast_for,
    inference_batch_size,
    logits_of,
)
from ruggedize.train.distributed import sum_over_processes
from ruggedize.train.objectives.teachers import Ensemble

MAX_TABLE_BYTES = 1 << 30
log = logging.getLogger(__name__)


class KeptLogits(NamedTuple):
    """A teacher's logits for every image of a set, in some of its views."""

    logits: Float32[Tensor, "n v k"]
    rows: Int64[Tensor, " m"]  # by index of the image; -1: not in the set

    def of(self, index: Int64[Tensor, " b"], number: Tensor | int) -> Float32[Tensor, "b k"]:
        """Return the logits of images with these indices, in view `number`."""
        return self.logits[self.rows[index], number]


def table_bytes(num_images: int, num_views: int, num_classes: int) -> int:
    """Return the size of a table of logits."""
    return 4 * num_images * num_views * num_classes


def fits_in_table(num_images: int, num_views: int, num_classes: int) -> bool:
    """Return whether logits are kept in memory, because they do not exceed 1 GB."""
    return table_bytes(num_images, num_views, num_classes) <= MAX_TABLE_BYTES


def precomputed_logits(
    teacher: Classifier | Ensemble,
    train: ImageSet,
    views: Sequence[Callable[[Images], Views]],
    precision: Precision,
    accelerator: Accelerator,
    progress: Progress,
) -> KeptLogits | None:
    """Compute the teacher's logits for these views; return None if they would exceed 1 GB.

    They are not saved with the state of a training. The batches do not depend on when they are
    computed, so that a resumed run gets bit-identical logits.
    """
    if not fits_in_table(len(train), len(views), len(train.classes)):
        log.warning(
            "the teacher's logits would take %.1f GB: they are computed in every step, not once",
            1e-9 * table_bytes(len(train), len(views), len(train.classes)),
        )
        return None
    device = accelerator.device
    autocast = autocast_for(precision, device)
    table = torch.zeros(len(train), len(views), len(train.classes), device=device)
    rows = torch.full((int(train.index.max()) + 1,), -1)
    rows[train.index] = torch.arange(len(train))
    size = inference_batch_size(teacher.input_size)
    positions = np.array_split(np.arange(len(train)), -(-len(train) // size))
    mine = positions[accelerator.process_index :: accelerator.num_processes]
    for done, batch in enumerate(train.batches(mine), 1):
        places = rows[batch.index].to(device)
        for number, make_view in enumerate(views):
            view = make_view(batch.stored).to(device)
            with autocast:
                table[places, number] = logits_of(teacher, view).float()
        progress("compute teacher logits", done, len(mine))
    return KeptLogits(sum_over_processes(accelerator)(table).cpu(), rows)
