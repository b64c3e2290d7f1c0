"""A teacher's logits for all clean views that there are, computed once."""

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

LARGEST_TABLE = 1 << 30  # bytes
log = logging.getLogger(__name__)


def known_targets(
    teacher: Classifier,
    train: ImageSet,
    views: Sequence[Callable[[Images], Views]],
    precision: Precision,
    accelerator: Accelerator,
    progress: Progress,
) -> Float32[torch.Tensor, "m v k"] | None:
    """Compute the teacher's logits for these views of every image, or None beyond 1 GB.

    The logits stand at the images' indices. They are not saved with the state of a training: a
    resumed run computes them again, in the same batches, and so to the same bits.
    """
    rows = int(train.index.max()) + 1
    num_bytes = 4 * rows * len(views) * len(train.classes)
    if num_bytes > LARGEST_TABLE:
        log.warning(
            "the teacher's answers would take %.1f GB: it is asked in every step instead of once",
            1e-9 * num_bytes,
        )
        return None
    device = accelerator.device
    autocast = autocast_for(precision, device)
    table = torch.zeros(rows, len(views), len(train.classes), device=device)
    most = inference_batch_size(teacher.input_size)
    everything = np.array_split(np.arange(len(train)), -(-len(train) // most))
    mine = everything[accelerator.process_index :: accelerator.num_processes]
    for done, part in enumerate(train.batches(mine), 1):
        index = part.index.to(device)
        for number, make_view in enumerate(views):
            view = make_view(part.images).to(device)
            with autocast:
                table[index, number] = logits_of(teacher, view).float()
        progress("ask the teacher", done, len(mine))
    return sum_over_processes(accelerator)(table).cpu()
