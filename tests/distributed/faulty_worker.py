"""Worker of two processes of which only the second has a fault."""

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
from ruggedize.train.stage import Stage
from tests.tiny_stages import NUM_IMAGES, Terms, altered, times, tiny_stage

STEP = 18  # of 48; the fault strikes here, in the second of three epochs
SHARE = 2  # images of a batch for each process
LATE = 6  # step from which on memory is short
ROOM = 4  # images at a time where memory is short


def faulty(stage: Stage, fault: str) -> Stage:
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
        first = next(m for m in stage.model.modules() if isinstance(m, nn.Conv2d))
        first.register_forward_pre_hook(within_the_network)

    return altered(dataclasses.replace(stage, progress=progress), change)


def main(folder: Path, fault: str, batch_size: int) -> None:
    """Train for three epochs; a mistake is said as the command line says it."""
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING)
    stage = tiny_stage(folder, epochs=3, batch_size=batch_size, averaging="ema")
    if stage.accelerator.process_index == 1 and fault == "data":
        fewer = stage.train.select(range(NUM_IMAGES - 1))
        stage = dataclasses.replace(stage, sources={"labelled": fewer})
    elif stage.accelerator.process_index == 1 and fault == "states":
        stage = dataclasses.replace(stage, folder=folder / "elsewhere")
    elif stage.accelerator.process_index == 1:
        stage = faulty(stage, fault)
    try:
        fit(stage)
    except UserError as error:
        sys.exit(f"process {stage.accelerator.process_index}: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
