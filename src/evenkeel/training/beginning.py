"""What is checked, and what is written, before a training's first step."""

import torch

from evenkeel import runs
from evenkeel.models import save_model
from evenkeel.runs import UserError
from evenkeel.training.divergence import NOT_FINITE
from evenkeel.training.job import Job, refuse_untrainable
from evenkeel.training.normalisation import refuse_division


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
    refuse_different_data(job)


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
    if (job.folder / "model.safetensors").exists():
        raise UserError(
            f"{job.folder} holds a model and no state to go on from;\n"
            "give another folder with --out, or delete this one"
        )
    for name in ("metrics.jsonl", "delivered.json", NOT_FINITE):
        (job.folder / name).unlink(missing_ok=True)
    save_model(job.model, job.folder / "initial.safetensors", job.parents)
