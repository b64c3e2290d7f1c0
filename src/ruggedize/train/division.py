"""Division of a step's batch: micro-batches, ghost batches and synchronised batch norm."""

from functools import partial

from accelerate import Accelerator
from torch import nn

from ruggedize.core.errors import UserError
from ruggedize.models import (
    GhostBatchNorm,
    SynchronisedBatchNorm,
    batch_norms,
    meta_model,
    replace_batch_norm,
    title_of,
)
from ruggedize.train.options import TrainingOptions
from ruggedize.train.stage import Stage


def out_of_memory(stage: Stage) -> UserError:
    """Build the error for a step that ran out of memory, with remedies.

    It is raised in this process only. The others end through the launcher or the lost connection.
    """
    name, options = stage.name, stage.options
    layers, microbatches = batch_norms(stage.model), 2 * options.microbatches
    groups = microbatches * stage.accelerator.num_processes
    remedy = f"set {name}.microbatches = {microbatches}, "
    if layers and options.ghost_batches % groups:
        remedy = remedy[:-2] + f" and {name}.ghost_batches = {groups} (this changes the result), "
    if any(map(is_other_batch_norm, layers)):
        remedy = ""
    return UserError(
        f"{name}: {stage.accelerator.device} is out of memory;\n"
        f"{remedy}lower {name}.batch_size (now {options.batch_size}), or use a smaller "
        f"{name}.model or smaller views.resize and views.crop, and use another --out"
    )


def reject_division(name: str, options: TrainingOptions, accelerator: Accelerator) -> None:
    """Raise UserError for a division of the batch that processes or device do not support."""
    processes, ghosts = accelerator.num_processes, options.ghost_batches
    if ghosts > 1 and ghosts % processes:
        raise UserError(
            f"{name}.ghost_batches must be a multiple of the {processes} processes, got {ghosts};\n"
            f"set a multiple of {processes}, or use another number of processes"
        )
    if ghosts > 1 and ghosts // processes % options.microbatches:
        raise UserError(
            f"{name}.microbatches = {options.microbatches} does not divide the "
            f"{ghosts // processes} ghost batches of each of {processes} processes;\n"
            f"set {name}.microbatches to a divisor of {ghosts // processes}"
        )
    has_batch_norm = bool(batch_norms(meta_model(options.model, 2)))
    if options.microbatches > 1 and ghosts == 1 and has_batch_norm:
        raise UserError(
            f"{name}: microbatches = {options.microbatches} would change the batches that batch "
            "norm normalises;\n"
            f"also set ghost_batches = {processes * options.microbatches} (or a multiple of it)"
        )
    if ghosts > 1 or options.sync_batch_norm:
        reject_other_batch_norm(name, options)
    if (ghosts > 1 or options.sync_batch_norm) and not has_batch_norm:
        raise UserError(
            "ghost_batches and sync_batch_norm need batch norm, which this network does not have;\n"
            "remove them"
        )
    if options.sync_batch_norm and (processes == 1 or accelerator.device.type == "cpu"):
        where = "on a CPU" if accelerator.device.type == "cpu" else "with one process"
        raise UserError(
            f"{name}.sync_batch_norm needs several GPUs, but this run is {where};\n"
            "remove it, or use ghost_batches, which do not depend on the number of GPUs"
        )


def reject_other_batch_norm(name: str, options: TrainingOptions) -> None:
    """Raise UserError for batch norm that does more than normalise, as in some of timm's."""
    layers = batch_norms(meta_model(options.model, 2))
    if others := list(filter(is_other_batch_norm, layers)):
        raise UserError(
            f"{name}: ghost_batches and sync_batch_norm need torch's batch norm, but "
            f"{title_of(options.model)} has {type(others[0]).__name__};\nremove them"
        )


def is_other_batch_norm(layer: nn.Module) -> bool:
    """Return whether a layer does more than normalise; torch's, and ours, do not."""
    return not isinstance(layer, GhostBatchNorm | SynchronisedBatchNorm) and (
        type(layer).forward is not nn.BatchNorm2d.forward
    )


def divide_batch_norm(model: nn.Module, options: TrainingOptions, accelerator: Accelerator) -> None:
    """Replace batch norm by ghost or synchronised batch norm if the options say so."""
    if options.sync_batch_norm:
        replace_batch_norm(model, SynchronisedBatchNorm)
    elif options.ghost_batches > 1:
        groups = options.ghost_batches // accelerator.num_processes // options.microbatches
        replace_batch_norm(model, partial(GhostBatchNorm, num_groups=groups))
