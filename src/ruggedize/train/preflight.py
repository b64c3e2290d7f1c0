"""What is checked and written before the first step."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.memory import available_memory, processes_here
from ruggedize.models import (
    GhostBatchNorm,
    SynchronisedBatchNorm,
    batch_norms,
    outline,
    replace_batch_norm,
    save_model,
)
from ruggedize.train.average import reachable_decay, updates_for
from ruggedize.train.checkpoint import saved_facts
from ruggedize.train.optim_options import Ema, NoAveraging, Sgd
from ruggedize.train.options import TrainingOptions
from ruggedize.train.safety import NOT_FINITE
from ruggedize.train.stage import Job, refuse_untrainable

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


def refuse_division(name: str, options: TrainingOptions, accelerator: Accelerator) -> None:
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
    if options.microbatches > 1 and parts == 1 and batch_norms(outline(options.model, 2)):
        raise would_divide(name, options)
    if options.sync_batch_norm and (processes == 1 or accelerator.device.type == "cpu"):
        where = "on a CPU" if accelerator.device.type == "cpu" else "with one process"
        raise UserError(
            f"{name}.sync_batch_norm joins the batches of several GPUs, and this runs {where};\n"
            "leave it out, or give the parts a fixed number: ghost_batches"
        )


def would_divide(name: str, options: TrainingOptions) -> UserError:
    """Return the error of micro-batches that divide what batch norm sees as a whole."""
    return UserError(
        f"{name}: microbatches = {options.microbatches} would change what batch norm normalises;\n"
        f"set ghost_batches = {options.microbatches} (or a multiple of it) as well"
    )


def divide_batch_norm(model: nn.Module, options: TrainingOptions, accelerator: Accelerator) -> None:
    """Replace batch norm by ghost or synchronised batch norm, as the options ask for."""
    if options.ghost_batches == 1 and not options.sync_batch_norm:
        if options.microbatches > 1 and batch_norms(model):
            raise would_divide("this training", options)
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


MODEL = "model.safetensors"
DELIVERED = "delivered.json"  # written before the model: what it is, and its hash
log = logging.getLogger(__name__)


def check(job: Job) -> None:
    """Reject what cannot be done, or would silently come out otherwise than asked for."""
    files.refuse_unwritable_folder(job.folder)
    accelerator = job.accelerator
    refuse_division(job.name, job.options, accelerator)
    if accelerator.mixed_precision != "no" or accelerator.gradient_accumulation_steps != 1:
        raise UserError(
            "Accelerate is set to mixed precision or gradient accumulation, which would act a "
            "second time here;\nset neither there, and precision = ... in the recipe"
        )
    refuse_untrainable(job.name, job.options, job.num_images, accelerator)
    refuse_unlabelled_validation(job)
    refuse_different_data(job)


def refuse_unlabelled_validation(job: Job) -> None:
    """Raise if there is nothing to validate on."""
    if not (job.validation.labels >= 0).any():
        raise UserError(
            f"{job.name}: none of the {len(job.validation):,} validation images has a label, and "
            "the weights to deliver are chosen by them;\n"
            "label some of them, or hold out labelled training images"
        )


def refuse_different_data(job: Job) -> None:
    """Reject processes that would not divide one training: other options or other images."""
    gathered = job.accelerator.gather(job.digest().to(job.accelerator.device))
    if len(set(gathered.tolist())) > 1:  # pyright: ignore
        raise UserError(
            f"{job.name}: the processes have different images or options (this one has "
            f"{len(job.train):,} for training);\n"
            "give all of them the same command and the same data"
        )


def refuse_different_states(job: Job, step: int) -> None:
    """Reject to go on where some processes read another state than others."""
    own = torch.tensor([step], device=job.accelerator.device)
    steps = set(job.accelerator.gather(own).tolist())  # pyright: ignore
    if len(steps) > 1:
        raise UserError(
            f"{job.name}: the processes found states of steps {', '.join(map(str, sorted(steps)))};"
            f"\nlet all machines see the same {job.folder}, and give the command again"
        )


def begin(job: Job) -> None:
    """Write what the training begins with, and clear what one that left no state has left."""
    if (job.folder / MODEL).exists():
        raise UserError(
            f"{job.folder} holds a model and no state to go on from;\n"
            "give another folder with --out, or delete this one"
        )
    for name in ("metrics.jsonl", DELIVERED, NOT_FINITE):
        (job.folder / name).unlink(missing_ok=True)
    save_model(job.model, job.folder / "initial.safetensors", job.parents)
    warn_of_unreached_decay(job)


def warn_of_unreached_decay(job: Job) -> None:
    """Warn if the steps are too few for the decay that an EMA was given."""
    averaging = job.options.averaging
    if not isinstance(averaging, Ema):
        return
    num_updates = job.num_steps - int(averaging.start * job.num_steps)
    if num_updates < updates_for(averaging.decay):
        log.warning(
            "%s.averaging.decay = %g is not reached in %s steps of averaging (it needs %s), "
            "which then also holds early weights; set it to %g, or train longer",
            *(job.name, averaging.decay, f"{num_updates:,}"),
            *(f"{updates_for(averaging.decay):,}", reachable_decay(num_updates)),
        )


def is_delivered(job: Job) -> bool:
    """Return whether this training has been finished in its folder.

    Raises:
        UserError: its model is no longer the file that was delivered.
    """
    note = delivered_note(job.folder)
    if not note or not (job.folder / MODEL).exists():
        return False
    if "training" not in note:  # of a version that said neither which training nor its hash
        saved = saved_facts(job.folder / "state")
        return saved is None or is_same_training(job, saved)
    if not is_same_training(job, note["training"]):
        return False
    refuse_changed_model(job.folder)
    return True


def is_same_training(job: Job, saved: Any) -> bool:
    """Return whether these facts are the job's; what cannot be understood is another training.

    Raises:
        UserError: they are the job's, and the data has changed since.
    """
    try:
        is_same = isinstance(saved, dict) and not job.facts.differing(saved)
        if is_same:
            job.facts.check_data(saved)
    except (KeyError, TypeError, ValueError):
        return False
    return is_same


def refuse_changed_model(folder: Path) -> None:
    """Reject a model that is damaged, or another one than was delivered here."""
    path, expected = folder / MODEL, delivered_note(folder).get("sha256")
    if path.exists() and expected and files.sha256(path) != expected:
        raise UserError(
            f"{path} is damaged or was changed: it is not what the training delivered;\n"
            "delete it, and the same command makes it again"
        )


def delivered_note(folder: Path) -> dict[str, Any]:
    """Read what is said of the delivered model; nothing where that cannot be read."""
    path = folder / DELIVERED
    try:
        note = json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}
