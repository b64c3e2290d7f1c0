"""How a process finds the others that were launched with it, and the device it works on."""

import os

import torch
from accelerate import Accelerator

from evenkeel.runs import UserError


def default_accelerator() -> Accelerator:
    """Take what the launcher and the machine offer.

    Accelerate joins processes on the CPU only where it is told that there is no GPU. Apple's GPU
    is not used: it lacks the float64 that sums need.
    """
    device = torch.accelerator.current_accelerator(check_available=True)
    accelerator = Accelerator(cpu=device is None or device.type == "mps")
    refuse_a_lone_process(accelerator)
    return accelerator


def refuse_a_lone_process(accelerator: Accelerator) -> None:
    """Refuse the one process that `accelerate launch --cpu --num_processes N` starts.

    Without `mpirun` Accelerate sets the address of the N processes' meeting place, but starts one.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ
    if launched and accelerator.num_processes == 1 and "WORLD_SIZE" not in os.environ:
        raise UserError(
            "accelerate launch was asked for several processes and started one: on a CPU it leaves "
            "them to mpirun;\n"
            "use accelerate launch --multi_gpu --num_processes N (it works on a CPU, too)"
        )
