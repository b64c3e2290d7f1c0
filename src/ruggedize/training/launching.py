"""How a process finds the others that were launched with it, its device, and what it says alone."""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch.distributed import DistError

from ruggedize.runs import UserError


def default_accelerator() -> Accelerator:
    """Take what the launcher and the machine offer.

    Accelerate joins processes on the CPU only where it is told that there is no GPU. Apple's GPU
    is not used: it lacks the float64 that sums need.
    """
    device = torch.accelerator.current_accelerator(check_available=True)
    try:
        accelerator = Accelerator(cpu=device is None or device.type == "mps")
    except DistError as error:
        raise UserError(
            f"the processes of this run could not meet: {str(error).partition(';')[0][:200]}\n"
            "see that MASTER_ADDR and MASTER_PORT (--main_process_ip, --main_process_port) are "
            "those of the first process, that its port is free, and that all are started"
        ) from error
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


@atexit.register
def leave_group() -> None:
    """End gloo's threads while Python still runs.

    Later they can abort the process at its very end, and the launcher then ends the others in the
    midst of their work. NCCL is left alone: it would wait for processes that have died.
    """
    joined = torch.distributed.is_available() and torch.distributed.is_initialized()
    if joined and torch.distributed.get_backend() == "gloo":
        torch.distributed.destroy_process_group()


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Say that a process is gone where gloo or NCCL reports a broken connection."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, DistError) or "gloo" in str(error):
            raise UserError(
                "another process of this run has ended or cannot be reached; see its own message.\n"
                "What was saved is whole: give the same command again, with as many processes as "
                "there are"
            ) from error
        raise
