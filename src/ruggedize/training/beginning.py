"""What is checked, and what is written, before a training's first step."""

import json
import logging
from pathlib import Path
from typing import Any

import torch

from ruggedize import runs
from ruggedize.models import save_model
from ruggedize.runs import UserError
from ruggedize.training.averaging import reachable_decay, updates_for
from ruggedize.training.divergence import NOT_FINITE
from ruggedize.training.job import Job, refuse_untrainable
from ruggedize.training.normalisation import refuse_division
from ruggedize.training.options import Ema
from ruggedize.training.state import saved_facts

MODEL = "model.safetensors"
DELIVERED = "delivered.json"  # written before the model: what it is, and its hash
log = logging.getLogger(__name__)


def check(job: Job) -> None:
    """Refuse what cannot be done, or would silently come out otherwise than asked for."""
    runs.refuse_unwritable_folder(job.folder)
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
    """Refuse processes that would not divide one training: other options or other images."""
    gathered = job.accelerator.gather(job.digest().to(job.accelerator.device))
    if len(set(gathered.tolist())) > 1:  # pyright: ignore
        raise UserError(
            f"{job.name}: the processes have different images or options (this one has "
            f"{len(job.train):,} for training);\n"
            "give all of them the same command and the same data"
        )


def refuse_different_states(job: Job, step: int) -> None:
    """Refuse to go on where some processes read another state than others."""
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
            "%s.averaging.decay = %g is not reached in %s updates of the average (it needs %s), "
            "which then also holds early weights; set it to %g, or train longer",
            *(job.name, averaging.decay, f"{num_updates:,}"),
            *(f"{updates_for(averaging.decay):,}", reachable_decay(num_updates)),
        )


def is_delivered(job: Job) -> bool:
    """Tell whether this training has been finished in its folder.

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
    except (KeyError, TypeError, ValueError):
        return False
    if is_same:
        job.facts.check_data(saved)
    return is_same


def refuse_changed_model(folder: Path) -> None:
    """Refuse a model that is damaged, or another one than was delivered here."""
    path, expected = folder / MODEL, delivered_note(folder).get("sha256")
    if path.exists() and expected and runs.sha256(path) != expected:
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
