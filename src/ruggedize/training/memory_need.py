"""What a training on the CPU will need in memory, said before it is taken."""

import copy
import logging
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ruggedize.memory import available_memory, processes_here
from ruggedize.models import outline
from ruggedize.runs import UserError
from ruggedize.training.feeding import on_device
from ruggedize.training.job import Job
from ruggedize.training.options import NoAveraging, Sgd, TrainingOptions

GIB = 1 << 30
log = logging.getLogger(__name__)


class Need(NamedTuple):
    """Bytes that a training takes on top of what it holds before its first step."""

    fixed: int  # gradients, the optimiser's slots, copies of the weights
    per_image: int  # activations kept for the gradient

    def total(self, num_images: int) -> int:
        """Give the bytes that steps on batches of this size take."""
        return self.fixed + self.per_image * num_images

    def largest_batch(self, memory: int) -> int:
        """Give how many images fit."""
        return max(0, memory - self.fixed) // self.per_image


def refuse_too_large(
    name: str, options: TrainingOptions, num_classes: int, device: torch.device
) -> None:
    """Refuse, before it is built, a network for the CPU whose weights alone do not fit.

    Raises:
        UserError: weights, gradients, the optimiser's slots and copies are more than there is.
    """
    memory, here = available_memory(), processes_here()
    if device.type != "cpu" or memory is None:
        return
    weights = bytes_of_weights(outline(options.model, num_classes))
    need = here * (weights + fixed_need(options, weights))
    if need > memory:
        raise UserError(
            f"{name}.model has {weights // 4:,} weights: they, their gradients, the optimiser and "
            f"copies take {need / GIB:.1f} GB of memory, and {memory / GIB:.1f} GB are there;\n"
            f"take a smaller {name}.model"
        )


def warn_if_too_large(job: Job, autocast: torch.autocast) -> None:
    """Say what a training on the CPU needs when that is more than there is, and what to lower.

    The system would end the process without a word. A GPU says when it is full, and is answered
    then, with smaller parts.
    """
    memory, here = available_memory(), processes_here()
    too_few = len(job.train) < 2 * job.fewest_images
    if job.accelerator.device.type != "cpu" or memory is None or too_few:
        return
    batch_size = min(job.options.batch_size, job.num_images)
    need, share = needed(job, autocast), -(-batch_size // job.accelerator.num_processes)
    log.info("%s needs about %.1f GB of memory", job.name, need.total(share) * here / GIB)
    if need.total(share) <= memory // here:
        return
    largest = need.largest_batch(memory // here) * job.accelerator.num_processes
    cure = f"lower {job.name}.batch_size to {largest}" if largest >= 2 else "take a smaller model"
    log.warning(
        "%s needs about %.1f GB of memory (%.1f for weights, %.1f for the activations of %d "
        "images), and %.1f GB are there; %s, or make views.resize and views.crop smaller",
        *(job.name, need.total(share) * here / GIB, need.fixed * here / GIB),
        *(need.per_image * share * here / GIB, share * here, memory / GIB, cure),
    )


def needed(job: Job, autocast: torch.autocast) -> Need:
    """Measure the activations of a few images, and count the rest."""
    number = job.fewest_images  # what grows with as many again grows with the batch
    few, more = (activations(job, autocast, n) for n in (number, 2 * number))
    per_image = (more - few) // number
    fixed = fixed_need(job.options, bytes_of_weights(job.model))
    return Need(fixed, per_image=max(1, per_image))


def bytes_of_weights(network: nn.Module) -> int:
    """Count the bytes of all weights."""
    return sum(weight.nbytes for weight in network.parameters())


def fixed_need(options: TrainingOptions, weights: int) -> int:
    """Return the bytes of gradients, optimiser slots, average and best for so many of weights."""
    slots = int(options.optimiser.momentum > 0) if isinstance(options.optimiser, Sgd) else 2
    averaged = not isinstance(options.averaging, NoAveraging)
    keeps_best = bool(options.early_stopping) or (averaged and options.deliver != "raw")
    copies = int(averaged) + int(keeps_best)
    return weights * (1 + slots + copies)


def activations(job: Job, autocast: torch.autocast, num_images: int) -> int:
    """Count the bytes that a copy of the network keeps for the gradient of a few images."""
    network: nn.Module = copy.deepcopy(job.model).train()
    pair = on_device(job.make_pair(job.train.take(range(num_images)), 0), job.accelerator.device)
    storages: dict[int, int] = {}
    held: list[Tensor] = []  # so that no address is used twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor), autocast:
        job.objective(network, pair)
    own = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    return sum(size for address, size in storages.items() if address not in own)
