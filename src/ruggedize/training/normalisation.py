"""What batch norm sees: the batch in parts, this process's share, or all processes' shares."""

from functools import partial

from accelerate import Accelerator
from torch import nn

from ruggedize.models.batch_norm import (
    GhostBatchNorm,
    SynchronisedBatchNorm,
    batch_norms,
    replace_batch_norm,
)
from ruggedize.runs import UserError
from ruggedize.training.options import TrainingOptions


def refuse_division(name: str, options: TrainingOptions, accelerator: Accelerator) -> None:
    """Refuse parts that the processes cannot share, and what the device cannot do."""
    processes, parts = accelerator.num_processes, options.ghost_batches
    if parts > 1 and parts % processes:
        raise UserError(
            f"{name}.ghost_batches = {parts} cannot be shared by {processes} processes;\n"
            f"take a multiple of {processes}, or another number of processes"
        )
    if parts > 1 and parts // processes % options.microbatches:
        raise UserError(
            f"{name}.microbatches = {options.microbatches} does not divide the "
            f"{parts // processes} ghost batches of each of {processes} processes;\n"
            "take a divisor of it"
        )
    if options.sync_batch_norm and (processes == 1 or accelerator.device.type == "cpu"):
        where = "on a CPU" if accelerator.device.type == "cpu" else "with one process"
        raise UserError(
            f"{name}.sync_batch_norm joins the batches of several GPUs, and this runs {where};\n"
            "leave it out, or give the parts a fixed number: ghost_batches"
        )


def divide_batch_norm(model: nn.Module, options: TrainingOptions, accelerator: Accelerator) -> None:
    """Let a network's batch norm see what the options say, in this process."""
    if options.ghost_batches == 1 and not options.sync_batch_norm:
        if options.microbatches > 1 and batch_norms(model):
            raise UserError(
                f"microbatches = {options.microbatches} would change what batch norm normalises;\n"
                f"set ghost_batches = {options.microbatches} (or a multiple of it) as well"
            )
        return
    if not batch_norms(model):
        raise UserError(
            "ghost_batches and sync_batch_norm change batch norm, and this network has none;\n"
            "leave them out"
        )
    if options.sync_batch_norm:
        replace_batch_norm(model, SynchronisedBatchNorm)
    else:
        parts = options.ghost_batches // accelerator.num_processes // options.microbatches
        replace_batch_norm(model, partial(GhostBatchNorm, num_parts=parts))
