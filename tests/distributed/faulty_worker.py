"""What each of two processes does while a fault strikes only the second of them."""

import dataclasses
import logging
import math
import os
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.train.loop import fit
from ruggedize.train.objectives.objective import Batch
from ruggedize.train.stage import Job
from tests.training_jobs import NUM_IMAGES, Terms, altered, times, tiny_job

STEP = 18  # of 48; the fault strikes here, in the second of three epochs
SHARE = 2  # images of a batch for each process
LATE = 6  # step from which on memory is short
ROOM = 4  # images at a time where memory is short


def faulty(job: Job, fault: str) -> Job:
    """Return the training in which this process is struck."""
    calls: list[int] = []

    def progress(task: str, done: int, total: int) -> None:
        calls.append(done)
        if fault == "signal" and len(calls) == STEP:
            os.kill(os.getpid(), signal.SIGTERM)

    def change(terms: Terms, batch: Batch) -> Terms:
        return times(terms, math.nan) if fault == "nan" and len(calls) == STEP - 1 else terms

    def within_the_network(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        struck = fault == "memory" or len(calls) >= LATE
        if struck and len(inputs[0]) > ROOM and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    if fault in ("memory", "late memory"):
        first = next(m for m in job.model.modules() if isinstance(m, nn.Conv2d))
        first.register_forward_pre_hook(within_the_network)

    return altered(dataclasses.replace(job, progress=progress), change)


def main(folder: Path, fault: str, batch_size: int) -> None:
    """Train for three epochs; a mistake is said as the command line says it."""
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING)
    job = tiny_job(folder, epochs=3, batch_size=batch_size, averaging="ema")
    if job.accelerator.process_index == 1 and fault == "data":
        fewer = job.train.select(range(NUM_IMAGES - 1))
        job = dataclasses.replace(job, sources={"labelled": fewer})
    elif job.accelerator.process_index == 1 and fault == "states":
        job = dataclasses.replace(job, folder=folder / "elsewhere")
    elif job.accelerator.process_index == 1:
        job = faulty(job, fault)
    try:
        fit(job)
    except UserError as error:
        sys.exit(f"process {job.accelerator.process_index}: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
