"""What the teacher says of clean views that are the same in every epoch."""

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

LARGEST_TABLE = 1 << 30  # bytes
log = logging.getLogger(__name__)


def known_targets(
    teacher: Classifier,
    train: ImageSet,
    precision: Precision,
    accelerator: Accelerator,
    progress: Progress,
) -> Float32[torch.Tensor, "m k"] | None:
    """Compute the teacher's logits for every test view; None: they are too many to keep.

    The logits stand at the images' indices. They are asked for in the same batches each time, so
    that a run that is resumed learns from the same bits.
    """
    rows = int(train.index.max()) + 1
    if 4 * rows * len(train.classes) > LARGEST_TABLE:
        log.warning(
            "the teacher's answers would take %.1f GB: it is asked in every step instead of once",
            4e-9 * rows * len(train.classes),
        )
        return None
    device = accelerator.device
    autocast = autocast_for(precision, device)
    table = torch.zeros(rows, len(train.classes), device=device)
    most = inference_batch_size(teacher.input_size)
    everything = np.array_split(np.arange(len(train)), -(-len(train) // most))
    mine = everything[accelerator.process_index :: accelerator.num_processes]
    for done, part in enumerate(train.batches(mine), 1):
        views = teacher.test_view(part.images).to(device)
        with autocast:
            table[part.index.to(device)] = logits_of(teacher, views).float()
        progress("ask the teacher", done, len(mine))
    return sum_over_processes(accelerator)(table).cpu()
