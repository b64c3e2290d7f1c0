"""Precomputed teacher logits, for clean views of which there are few."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float32

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
) -> Float32[torch.Tensor, "m v k"] | None:
    """Compute the teacher's logits for these views; return None if they would exceed 1 GB.

    Row i holds the logits of the image with index i. They are not saved with the state of a
    training. The batches do not depend on when they are computed, so that a resumed run gets
    bit-identical logits.
    """
    rows = int(train.index.max()) + 1
    if not fits_in_table(rows, len(views), len(train.classes)):
        log.warning(
            "the teacher's logits would take %.1f GB: they are computed in every step, not once",
            1e-9 * table_bytes(rows, len(views), len(train.classes)),
        )
        return None
    device = accelerator.device
    autocast = autocast_for(precision, device)
    table = torch.zeros(rows, len(views), len(train.classes), device=device)
    size = inference_batch_size(teacher.input_size)
    positions = np.array_split(np.arange(len(train)), -(-len(train) // size))
    mine = positions[accelerator.process_index :: accelerator.num_processes]
    for done, batch in enumerate(train.batches(mine), 1):
        index = batch.index.to(device)
        for number, make_view in enumerate(views):
            view = make_view(batch.stored).to(device)
            with autocast:
                table[index, number] = logits_of(teacher, view).float()
        progress("compute teacher logits", done, len(mine))
    return sum_over_processes(accelerator)(table).cpu()
