"""Distributed training: process group, reductions, joint decisions and error reporting."""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed import DistError

from ruggedize.core.errors import UserError
from ruggedize.core.lock import only_writer
from ruggedize.core.signals import SIGNALS, Signals
from ruggedize.models import Precision, resolved_precision
from ruggedize.train.checkpoint import State, saved_precision
from ruggedize.train.options import TrainingOptions
from ruggedize.train.safety import divergence_error, sync_is_free
from ruggedize.train.stage import Stage


def default_accelerator() -> Accelerator:
    """Build the accelerator for this launcher and machine.

    Accelerate runs distributed on the CPU only with `cpu=True`. Apple's GPU is not used: it lacks
    float64, which the sums need.
    """
    device = torch.accelerator.current_accelerator(check_available=True)
    try:
        accelerator = Accelerator(cpu=device is None or device.type == "mps")
    except DistError as error:
        raise UserError(
            "the processes of this run could not connect: "
            f"{str(error).partition(';')[0][:200]}\n"
            "check that MASTER_ADDR and MASTER_PORT (--main_process_ip, --main_process_port) are "
            "those of the first process, that its port is free, and that all processes are started"
        ) from error
    reject_incomplete_launch(accelerator)
    return accelerator


def reject_incomplete_launch(accelerator: Accelerator) -> None:
    """Raise UserError if `accelerate launch --cpu --num_processes N` started a single process.

    On a CPU without `mpirun`, Accelerate sets the environment for N processes but starts one.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ
    if launched and accelerator.num_processes == 1 and "WORLD_SIZE" not in os.environ:
        raise UserError(
            "accelerate launch started one process instead of several: on a CPU it needs mpirun;\n"
            "use accelerate launch --multi_gpu --num_processes N (this also works on a CPU)"
        )


@atexit.register
def destroy_gloo_group() -> None:
    """End gloo's threads before the interpreter shuts down.

    Otherwise they can abort the process during shutdown, and the launcher then kills the others.
    An NCCL group is not destroyed: that would wait for processes that have died.
    """
    joined = torch.distributed.is_available() and torch.distributed.is_initialized()
    if joined and torch.distributed.get_backend() == "gloo":
        torch.distributed.destroy_process_group()


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Raise UserError about a lost process if gloo or NCCL reports a broken connection."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, DistError) or "gloo" in str(error):
            raise UserError(
                "another process of this run has ended or cannot be reached; see its message.\n"
                "The saved state is intact: repeat the command, with the processes that are left"
            ) from error
        raise


def sum_over_processes(accelerator: Accelerator) -> Callable[[Tensor], Tensor]:
    """Return a function that sums a tensor over all processes (all-reduce)."""
    if accelerator.num_processes == 1:
        return lambda value: value
    return lambda value: accelerator.reduce(value, reduction="sum")  # pyright: ignore


@contextmanager
def first_process_writes(accelerator: Accelerator, folder: Path) -> Iterator[None]:
    """Lock a folder in the first process; raise in every process if that fails."""
    with ExitStack() as stack:
        failure = None
        if accelerator.is_main_process:
            try:
                stack.enter_context(only_writer(folder))
            except (UserError, OSError) as error:
                failure = error
        has_failed = torch.tensor([float(failure is not None)], device=accelerator.device)
        if sum_over_processes(accelerator)(has_failed):
            raise failure or UserError(
                f"the first process cannot write to {folder};\nsee its error message"
            )
        yield


SAVE_SECONDS = 300.0  # between two states within an epoch
SYNC_INTERVAL = 20  # steps between two synchronisations of processes, or with a GPU


class Actions(NamedTuple):
    """What to do between two steps."""

    save: bool
    signal_number: int  # 0: no signal received


def actions_due(stage: Stage, state: State, signals: Signals, seconds: float) -> Actions:
    """Return whether to save and which signal to handle, `seconds` after the last save.

    Several processes decide together, every `SYNC_INTERVAL` steps.
    """
    is_single, save = stage.accelerator.num_processes == 1, seconds > SAVE_SECONDS
    is_sync_step = state.counters.step % SYNC_INTERVAL == 0
    if not is_single:
        if not is_sync_step:
            return Actions(save=False, signal_number=0)
        save = decided_by_first(stage, save)
    number = received_signal(stage, signals)
    if is_sync_step or save or number:
        reject_divergence(stage, state)
    return Actions(save, number)


def decided_by_first(stage: Stage, value: bool) -> bool:
    """Return the first process's value in all processes: saving needs all of them."""
    if stage.accelerator.num_processes == 1:
        return value
    local = [float(value and stage.accelerator.is_main_process)]
    decision = torch.tensor(local, device=stage.accelerator.device)
    return bool(sum_over_processes(stage.accelerator)(decision))


def received_signal(stage: Stage, signals: Signals) -> int:
    """Return the signal that any process has received, or 0."""
    if stage.accelerator.num_processes == 1:
        return signals.number
    local = [float(signals.number == number) for number in SIGNALS]
    counts = sum_over_processes(stage.accelerator)(
        torch.tensor(local, device=stage.accelerator.device)
    )
    return max((number for number, n in zip(SIGNALS, counts.tolist(), strict=True) if n), default=0)


def stop_on_signal(stage: Stage, number: int, signals: Signals) -> None:
    """Re-raise a deferred signal, if any, once the first process has saved the state."""
    if number:
        stage.accelerator.wait_for_everyone()
        signals.reraise(number)


def reject_divergence(stage: Stage, state: State) -> None:
    """Raise UserError if a loss was non-finite; no state has been saved since.

    On the CPU every step has been checked already; a GPU is checked here, before every save.
    """
    if sync_is_free(stage.accelerator.device):
        return
    if bad := state.first_bad.read(stage.accelerator):
        raise divergence_error(stage, bad, state.counters.lr_scale)


def training_precision(
    options: TrainingOptions, folder: Path, accelerator: Accelerator
) -> Precision:
    """Return the precision of the training in a folder, decided by the first process.

    `auto` is resolved when the training starts and recorded in its state, so that a resumed
    training keeps its precision.
    """
    is_bf16 = 0.0
    if accelerator.is_main_process:
        recorded = saved_precision(folder / "state") if options.precision == "auto" else None
        precision = recorded or resolved_precision(options.precision, accelerator.device)
        is_bf16 = float(precision == "bf16")
    decision = sum_over_processes(accelerator)(torch.tensor([is_bf16], device=accelerator.device))
    return "bf16" if decision else "fp32"
