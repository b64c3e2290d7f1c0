"""What is checked and written before the first step."""

import logging
from functools import partial

import torch
from accelerate import Accelerator
from torch import nn

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.memory import available_memory, processes_here
from ruggedize.data import ImageSet, Splits
from ruggedize.models import (
    GhostBatchNorm,
    SynchronisedBatchNorm,
    batch_norms,
    meta_model,
    reject_too_small,
    replace_batch_norm,
    save_model,
)
from ruggedize.train.average import reachable_decay, updates_for
from ruggedize.train.delivery import DELIVERED, MODEL
from ruggedize.train.optim import Ema, NoAveraging, Sgd
from ruggedize.train.options import TrainingOptions
from ruggedize.train.safety import NOT_FINITE
from ruggedize.train.stage import Stage, num_groups, steps_per_epoch
from ruggedize.views import ViewOptions

GIB = 1 << 30
log = logging.getLogger(__name__)


def check_stage(
    name: str,
    options: TrainingOptions,
    data: Splits,
    views: ViewOptions,
    accelerator: Accelerator,
) -> None:
    """Raise UserError for a stage that cannot be trained on these data and this machine.

    `run` checks all stages before it writes anything, `train_stage` its own before it builds it.
    """
    views.check_image_size(data.train.image_size)
    reject_too_small(options.model, views.input_size(data.train.image_size))
    reject_division(name, options, accelerator)
    reject_settings(accelerator)
    reject_untrainable(name, options, len(data.train), accelerator)
    reject_unlabelled_validation(name, data.validation)
    reject_too_large(name, options, len(data.train.classes), accelerator.device)


def reject_settings(accelerator: Accelerator) -> None:
    """Raise UserError for settings of Accelerate's that a recipe has, too."""
    if accelerator.mixed_precision != "no" or accelerator.gradient_accumulation_steps != 1:
        raise UserError(
            "Accelerate is set to mixed precision or gradient accumulation, which would act a "
            "second time here;\nset neither there, and precision = ... in the recipe"
        )


def reject_unlabelled_validation(name: str, validation: ImageSet) -> None:
    """Raise UserError if there is nothing to validate on."""
    if not (validation.labels >= 0).any():
        raise UserError(
            f"{name}: none of the {len(validation):,} validation images has a label, and the "
            "weights to deliver are chosen by them;\n"
            "label some of them, or hold out labelled training images"
        )


def reject_untrainable(
    name: str, options: TrainingOptions, num_images: int, accelerator: Accelerator
) -> None:
    """Raise UserError for batches too small to train on, and an average that would never begin."""
    fewest = 2 * num_groups(options, accelerator)
    if min(num_images, options.batch_size) < fewest:
        raise UserError(
            f"{name}: a step needs {fewest} images or more, two for each process and ghost batch; "
            f"there are {num_images} training images, and {name}.batch_size = "
            f"{options.batch_size};\ngive more of them, or fewer processes"
        )
    averaging = options.averaging
    if averaging.kind == "swa":
        num_steps = options.epochs * steps_per_epoch(num_images, options, accelerator)
        remaining = num_steps - int(averaging.start * num_steps)
        if remaining < averaging.every:
            raise UserError(
                f"{name}: no snapshot falls into the {remaining} steps after averaging.start; "
                f"take averaging.every = {max(1, remaining // 10)} or train longer"
            )


def reject_too_large(
    name: str, options: TrainingOptions, num_classes: int, device: torch.device
) -> None:
    """Raise UserError, before it is built, for a network for the CPU whose weights do not fit.

    The system would end the process without a message. A GPU raises when it is full.
    """
    memory, here = available_memory(), processes_here()
    if device.type != "cpu" or memory is None or options.model.name == "custom":
        return
    weights = bytes_of_weights(meta_model(options.model, num_classes))
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


def out_of_memory(stage: Stage) -> UserError:
    """Return the error of a step that did not fit into memory, with what helps.

    Of several processes the others end with this one: the launcher, or the broken connection,
    ends them.
    """
    name, options = stage.name, stage.options
    has_batch_norm = bool(batch_norms(stage.model))
    parts = 2 * options.microbatches
    helps = f"set {name}.microbatches = {parts}"
    if has_batch_norm and options.ghost_batches % parts:
        helps += f" and {name}.ghost_batches = {parts}, which changes what batch norm sees"
    return UserError(
        f"{name}: {stage.accelerator.device} is out of memory;\n"
        f"{helps}, lower {name}.batch_size (now {options.batch_size}), or take a smaller "
        f"{name}.model or smaller views.resize and views.crop, with another --out"
    )


def reject_division(name: str, options: TrainingOptions, accelerator: Accelerator) -> None:
    """Reject parts that the processes cannot share, and what the device cannot do."""
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
    has_batch_norm = bool(batch_norms(meta_model(options.model, 2)))
    if options.microbatches > 1 and parts == 1 and has_batch_norm:
        raise UserError(
            f"{name}: microbatches = {options.microbatches} would change what batch norm "
            f"normalises;\nset ghost_batches = {options.microbatches} (or a multiple of it) as well"
        )
    if (parts > 1 or options.sync_batch_norm) and not has_batch_norm:
        raise UserError(
            "ghost_batches and sync_batch_norm change batch norm, and this network has none;\n"
            "leave them out"
        )
    if options.sync_batch_norm and (processes == 1 or accelerator.device.type == "cpu"):
        where = "on a CPU" if accelerator.device.type == "cpu" else "with one process"
        raise UserError(
            f"{name}.sync_batch_norm joins the batches of several GPUs, and this runs {where};\n"
            "leave it out, or give the parts a fixed number: ghost_batches"
        )


def divide_batch_norm(model: nn.Module, options: TrainingOptions, accelerator: Accelerator) -> None:
    """Replace batch norm by ghost or synchronised batch norm, as the options ask for."""
    if options.sync_batch_norm:
        replace_batch_norm(model, SynchronisedBatchNorm)
    elif options.ghost_batches > 1:
        parts = options.ghost_batches // accelerator.num_processes // options.microbatches
        replace_batch_norm(model, partial(GhostBatchNorm, num_groups=parts))


def check(stage: Stage) -> None:
    """Raise UserError if the folder cannot be written, or the processes do not agree."""
    files.reject_unwritable_folder(stage.folder)
    reject_different_data(stage)


def reject_different_data(stage: Stage) -> None:
    """Reject processes that would not divide one training: other options or other images."""
    gathered = stage.accelerator.gather(stage.digest().to(stage.accelerator.device))
    if len(set(gathered.tolist())) > 1:  # pyright: ignore
        raise UserError(
            f"{stage.name}: the processes have different images or options (this one has "
            f"{len(stage.train):,} for training);\n"
            "give all of them the same command and the same data"
        )


def reject_different_states(stage: Stage, step: int) -> None:
    """Reject to go on where some processes read another state than others."""
    own = torch.tensor([step], device=stage.accelerator.device)
    steps = set(stage.accelerator.gather(own).tolist())  # pyright: ignore
    if len(steps) > 1:
        raise UserError(
            f"{stage.name}: the processes found states of steps "
            f"{', '.join(map(str, sorted(steps)))};\n"
            f"let all machines see the same {stage.folder}, and give the command again"
        )


def begin(stage: Stage) -> None:
    """Write what the training begins with, and clear what one that left no state has left."""
    if (stage.folder / MODEL).exists():
        raise UserError(
            f"{stage.folder} holds a model and no state to go on from;\n"
            "give another folder with --out, or delete this one"
        )
    for name in ("metrics.jsonl", DELIVERED, NOT_FINITE):
        (stage.folder / name).unlink(missing_ok=True)
    save_model(stage.model, stage.folder / "initial.safetensors", stage.parents)
    warn_of_unreached_decay(stage)


def warn_of_unreached_decay(stage: Stage) -> None:
    """Warn if the steps are too few for the decay that an EMA was given."""
    averaging = stage.options.averaging
    if not isinstance(averaging, Ema):
        return
    num_updates = stage.num_steps - int(averaging.start * stage.num_steps)
    if num_updates < updates_for(averaging.decay):
        log.warning(
            "%s.averaging.decay = %g is not reached in %s steps of averaging (it needs %s), "
            "which then also holds early weights; set it to %g, or train longer",
            *(stage.name, averaging.decay, f"{num_updates:,}"),
            *(f"{updates_for(averaging.decay):,}", reachable_decay(num_updates)),
        )
