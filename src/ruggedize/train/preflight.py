"""Preflight checks, and the files written before the first step."""

import logging

import torch
from accelerate import Accelerator
from torch import nn

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.memory import available_memory, processes_here
from ruggedize.data import ImageSet, Splits
from ruggedize.models import (
    meta_model,
    reject_too_small,
    save_model,
)
from ruggedize.train.average import reachable_decay, updates_for
from ruggedize.train.delivery import DELIVERED, MODEL
from ruggedize.train.division import reject_division
from ruggedize.train.epochs import steps_per_epoch
from ruggedize.train.fine_tuning.probe import PROBED
from ruggedize.train.fine_tuning.start import check_start
from ruggedize.train.optim import Ema, NoAveraging, Sgd
from ruggedize.train.options import TrainingOptions
from ruggedize.train.safety import NOT_FINITE
from ruggedize.train.stage import Stage, num_groups
from ruggedize.views import ViewOptions, mixing_kinds

GIB = 1 << 30
log = logging.getLogger(__name__)


def check_stage(
    name: str,
    options: TrainingOptions,
    data: Splits,
    views: ViewOptions,
    accelerator: Accelerator,
) -> None:
    """Raise UserError if a stage cannot be trained on this data and this machine.

    `run` checks all stages before it writes anything; `train_stage` checks its own stage first.
    """
    views.check_image_size(data.train.image_size)
    reject_too_small(options.model, views.input_size(data.train.image_size))
    reject_mixed_labels(name, options, views)
    reject_division(name, options, accelerator)
    reject_settings(accelerator)
    reject_untrainable(name, options, len(data.train), accelerator)
    reject_unlabelled_validation(name, data.validation)
    reject_missing_unlabelled(name, options, data)
    reject_too_large(name, options, len(data.train.classes), accelerator.device)
    check_start(name, options, data.train.classes, views.input_size(data.train.image_size))


def reject_mixed_labels(name: str, options: TrainingOptions, views: ViewOptions) -> None:
    """Raise UserError if noise mixes labels that the objective would not learn."""
    kinds = mixing_kinds(views.noise)
    if kinds and not options.objective.learns_mixed_labels:
        raise UserError(
            f"{name}: {kinds[0]} mixes labels, which the objective {options.objective.kind} does "
            'not use;\nset objective = "supervised" and views = "noisy", or remove '
            f"{kinds[0]} from views.noise"
        )


def reject_settings(accelerator: Accelerator) -> None:
    """Raise UserError for settings of Accelerate that the recipe controls."""
    if accelerator.mixed_precision != "no" or accelerator.gradient_accumulation_steps != 1:
        raise UserError(
            "Accelerate is configured for mixed precision or gradient accumulation, which the "
            "recipe already controls;\nturn both off in Accelerate and set precision and "
            "microbatches in the recipe"
        )


def reject_unlabelled_validation(name: str, validation: ImageSet) -> None:
    """Raise UserError if no validation image has a label."""
    if not (validation.labels >= 0).any():
        raise UserError(
            f"{name}: none of the {len(validation):,} validation images has a label, but labels "
            "are required to choose the weights to deliver;\n"
            "label some of them, or hold out labelled training images"
        )


def reject_missing_unlabelled(name: str, options: TrainingOptions, data: Splits) -> None:
    """Raise UserError if the objective needs unlabelled images and there are none."""
    if options.objective.unlabelled_ratio and data.unlabelled is None:
        raise UserError(
            f"{name}: the objective {options.objective.kind} needs unlabelled images, but the data "
            "has none;\nset data.unlabelled to a folder of images or data.num_labels to a number, "
            "or choose another objective"
        )


def reject_untrainable(
    name: str, options: TrainingOptions, num_images: int, accelerator: Accelerator
) -> None:
    """Raise UserError for batches too small for batch norm, and for SWA without any snapshot."""
    fewest = 2 * num_groups(options, accelerator)
    if min(num_images, options.batch_size) < fewest:
        raise UserError(
            f"{name}: a step needs at least {fewest} images, two for each process and ghost batch; "
            f"got {num_images} training images and {name}.batch_size = {options.batch_size};\n"
            f"use more images, a larger batch, or fewer processes or ghost batches"
        )
    averaging = options.averaging
    if averaging.kind == "swa":
        num_steps = options.epochs * steps_per_epoch(
            options, num_images, num_groups(options, accelerator)
        )
        remaining = num_steps - int(averaging.start * num_steps)
        if remaining < averaging.every:
            raise UserError(
                f"{name}: averaging.every must be at most {remaining}, the number of steps after "
                f"averaging.start, got {averaging.every};\n"
                f"set averaging.every = {max(1, remaining // 10)} or train longer"
            )


def reject_too_large(
    name: str, options: TrainingOptions, num_classes: int, device: torch.device
) -> None:
    """Raise UserError for a network on the CPU whose weights do not fit into memory.

    Without this check the operating system would kill the process. A GPU raises an error itself.
    """
    memory, local_world_size = available_memory(), processes_here()
    if device.type != "cpu" or memory is None or options.model.name == "custom":
        return
    weights = weight_bytes(meta_model(options.model, num_classes))
    required = local_world_size * (weights + bytes_beside_weights(options, weights))
    if required > memory:
        raise UserError(
            f"{name}.model has {weights // 4:,} weights: with gradients, optimiser state and "
            f"copies they need {required / GIB:.1f} GB of memory, but {memory / GIB:.1f} GB are "
            f"available;\nuse a smaller {name}.model"
        )


def weight_bytes(network: nn.Module) -> int:
    """Return the size of all weights in bytes."""
    return sum(weight.nbytes for weight in network.parameters())


def bytes_beside_weights(options: TrainingOptions, weights: int) -> int:
    """Return the bytes of gradients, optimiser state, average and other copies of the weights."""
    slots = int(options.optimiser.momentum > 0) if isinstance(options.optimiser, Sgd) else 2
    averaged = not isinstance(options.averaging, NoAveraging)
    copies = 4 if averaged else int(bool(options.early_stopping))
    return weights * (1 + slots + copies)


def check_processes(stage: Stage) -> None:
    """Raise UserError if the folder is not writable or the processes have different data."""
    files.reject_unwritable_folder(stage.folder)
    reject_different_data(stage)


def reject_different_data(stage: Stage) -> None:
    """Raise UserError if the processes have different options or images."""
    gathered = stage.accelerator.gather(stage.digest().to(stage.accelerator.device))
    if len(set(gathered.tolist())) > 1:  # pyright: ignore
        raise UserError(
            f"{stage.name}: the processes have different images or options (this one has "
            f"{len(stage.train):,} training images);\n"
            "start all of them with the same command and the same data"
        )


def reject_different_states(stage: Stage, step: int) -> None:
    """Raise UserError if the processes have loaded states of different steps."""
    loaded = torch.tensor([step], device=stage.accelerator.device)
    steps = set(stage.accelerator.gather(loaded).tolist())  # pyright: ignore
    if len(steps) > 1:
        raise UserError(
            f"{stage.name}: the processes found states of different steps: "
            f"{', '.join(map(str, sorted(steps)))};\n"
            f"make the same {stage.folder} available to all machines, then repeat the command"
        )


def prepare_folder(stage: Stage) -> None:
    """Write the initial weights; remove files of an earlier training that saved no state."""
    if (stage.folder / MODEL).exists():
        raise UserError(
            f"{stage.folder} holds a model but no state to resume from;\n"
            "choose another folder with --out, or delete this one"
        )
    for name in ("metrics.jsonl", DELIVERED, NOT_FINITE, PROBED):
        (stage.folder / name).unlink(missing_ok=True)
    save_model(stage.model, stage.folder / "initial.safetensors", stage.parents)
    warn_of_unreached_decay(stage)
    warn_of_large_batch(stage.name, stage.options, len(stage.train))


def warn_of_large_batch(name: str, options: TrainingOptions, num_images: int) -> None:
    """Warn if a batch would hold more images than there are, so that an epoch is one step."""
    if num_images < options.batch_size and options.steps_per_epoch is None:
        log.warning(
            "%s: %d training images are fewer than a batch (%s.batch_size = %d), so every epoch is "
            "one step; set a smaller batch_size",
            *(name, num_images, name, options.batch_size),
        )


def warn_of_unreached_decay(stage: Stage) -> None:
    """Warn if the training is too short for the EMA to warm up to its decay."""
    averaging = stage.options.averaging
    if not isinstance(averaging, Ema):
        return
    num_updates = stage.num_steps - int(averaging.start * stage.num_steps)
    if num_updates < updates_for(averaging.decay):
        log.warning(
            "%s.averaging.decay = %g is not reached in %s steps of averaging (it needs %s), so "
            "early weights remain in the average; set it to %g, or train longer",
            *(stage.name, averaging.decay, f"{num_updates:,}"),
            *(f"{updates_for(averaging.decay):,}", reachable_decay(num_updates)),
        )
