"""What a training computes with: its precision, and torch.compile."""

import os
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from ruggedize.models import Precision, resolved_precision
from ruggedize.train.checkpoint import saved_precision
from ruggedize.train.distributed import sum_over_processes
from ruggedize.train.options import TrainingOptions


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a network that torch compiles at its first step.

    On a GPU kernels are compiled in this process, one after the other. By default torch compiles
    them in a pool of processes, and when that pool dies the training waits forever
    (docs/decisions/0005). `TORCHINDUCTOR_COMPILE_THREADS` takes precedence.
    """
    in_process = device.type == "cuda" and "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ
    compile_here = torch.compile(options={"compile_threads": 1} if in_process else None)
    return compile_here(network)  # pyright: ignore


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
