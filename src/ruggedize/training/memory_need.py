"""Memory that a training needs, and the error where there is not enough."""

import torch
from torch import nn

from ruggedize.memory import available_memory, processes_here
from ruggedize.models import outline
from ruggedize.models.batch_norm import batch_norms
from ruggedize.runs import UserError
from ruggedize.training.job import Job
from ruggedize.training.options import NoAveraging, Sgd, TrainingOptions

GIB = 1 << 30


def refuse_too_large(
    name: str, options: TrainingOptions, num_classes: int, device: torch.device
) -> None:
    """Raise UserError, before it is built, for a network for the CPU whose weights do not fit.

    The system would end the process without a message. A GPU raises when it is full.
    """
    memory, here = available_memory(), processes_here()
    if device.type != "cpu" or memory is None or options.model.name == "custom":
        return
    weights = bytes_of_weights(outline(options.model, num_classes))
    need = here * (weights + fixed_need(options, weights))
    if need > memory:
        raise UserError(
            f"{name}.model has {weights // 4:,} weights: they, their gradients, the optimiser and "
            f"copies take {need / GIB:.1f} GB of memory, and {memory / GIB:.1f} GB are there;\n"
            f"take a smaller {name}.model"
        )


def bytes_of_weights(network: nn.Module) -> int:
    """Return the bytes of all weights."""
    return sum(weight.nbytes for weight in network.parameters())


def fixed_need(options: TrainingOptions, weights: int) -> int:
    """Return what comes with so many bytes of weights: gradients, slots, average and best."""
    slots = int(options.optimiser.momentum > 0) if isinstance(options.optimiser, Sgd) else 2
    averaged = not isinstance(options.averaging, NoAveraging)
    copies = 2 if averaged else int(bool(options.early_stopping))
    return weights * (1 + slots + copies)


def out_of_memory(job: Job) -> UserError:
    """Return the error of a step that did not fit into memory, with what helps.

    Of several processes the others end with this one: the launcher, or the broken connection,
    ends them.
    """
    name, options = job.name, job.options
    has_batch_norm = bool(batch_norms(job.model))
    parts = 2 * options.microbatches
    helps = f"set {name}.microbatches = {parts}"
    if has_batch_norm and options.ghost_batches % parts:
        helps += f" and {name}.ghost_batches = {parts}, which changes what batch norm sees"
    return UserError(
        f"{name}: {job.accelerator.device} is out of memory;\n"
        f"{helps}, lower {name}.batch_size (now {options.batch_size}), or take a smaller "
        f"{name}.model or smaller views.resize and views.crop, with another --out"
    )
