"""The precision of a training: decided when it begins, and kept when it is resumed."""

from pathlib import Path

import torch
from accelerate import Accelerator

from ruggedize.models import resolved_precision
from ruggedize.models.precision import Precision
from ruggedize.training.options import TrainingOptions
from ruggedize.training.processes import sum_over_processes
from ruggedize.training.state import saved_precision


def training_precision(
    options: TrainingOptions, folder: Path, accelerator: Accelerator
) -> Precision:
    """Return what the training in a folder computes in.

    `auto` is resolved when the training begins and recorded in its state, so that a resumed one
    computes as it began. The first process decides for all.
    """
    own = 0.0
    if accelerator.is_main_process:
        recorded = saved_precision(folder / "state") if options.precision == "auto" else None
        decided = recorded or resolved_precision(options.precision, accelerator.device)
        own = float(decided == "bf16")
    decision = sum_over_processes(accelerator)(torch.tensor([own], device=accelerator.device))
    return "bf16" if decision else "fp32"
