"""torch.compile, without worker processes that a training could wait for."""

import os

import torch
from torch import nn


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a network that torch compiles at its first step.

    On a GPU kernels are compiled in this process, one after the other. By default torch compiles
    them in a pool of processes, and when that pool dies the training waits forever
    (docs/decisions/0005). `TORCHINDUCTOR_COMPILE_THREADS` takes precedence.
    """
    in_process = device.type == "cuda" and "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ
    compile_here = torch.compile(options={"compile_threads": 1} if in_process else None)
    return compile_here(network)  # pyright: ignore
