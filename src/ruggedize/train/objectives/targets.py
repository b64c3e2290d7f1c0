"""Precomputed teacher logits, for clean views that are the same in every epoch."""

import logging

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float32

from ruggedize.core.progress import Progress
from ruggedize.data import ImageSet
from ruggedize.models import (
    Classifier,
    Precision,
    autocast_for,
    inference_batch_size,
    logits_of,
)
from ruggedize.train.distributed import sum_over_processes

MAX_TABLE_BYTES = 1 << 30
log = logging.getLogger(__name__)


def precomputed_logits(
    teacher: Classifier,
    train: ImageSet,
    precision: Precision,
    accelerator: Accelerator,
    progress: Progress,
) -> Float32[torch.Tensor, "m k"] | None:
    """Compute the teacher's logits for every test view; return None if they would exceed 1 GB.

    Row i holds the logits of the image with index i. The batches do not depend on when they are
    computed, so that a resumed run gets bit-identical logits.
    """
    rows = int(train.index.max()) + 1
    if 4 * rows * len(train.classes) > MAX_TABLE_BYTES:
        log.warning(
            "the teacher's logits would take %.1f GB: they are computed in every step, not once",
            4e-9 * rows * len(train.classes),
        )
        return None
    device = accelerator.device
    autocast = autocast_for(precision, device)
    table = torch.zeros(rows, len(train.classes), device=device)
    size = inference_batch_size(teacher.input_size)
    positions = np.array_split(np.arange(len(train)), -(-len(train) // size))
    mine = positions[accelerator.process_index :: accelerator.num_processes]
    for done, batch in enumerate(train.batches(mine), 1):
        views = teacher.test_view(batch.images).to(device)
        with autocast:
            table[batch.index.to(device)] = logits_of(teacher, views).float()
        progress("compute teacher logits", done, len(mine))
    return sum_over_processes(accelerator)(table).cpu()
