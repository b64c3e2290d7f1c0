"""Several processes: how they meet, add up, agree and end."""

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
from ruggedize.models import Precision, resolved_precision
from ruggedize.train.checkpoint import State, saved_precision
from ruggedize.train.options import TrainingOptions
from ruggedize.train.safety import SIGNALS, Signals, divergence_error, sync_is_free
from ruggedize.train.stage import Stage


def default_accelerator() -> Accelerator:
    """Build the accelerator that the launcher and the machine offer.

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
    reject_a_lone_process(accelerator)
    return accelerator


def reject_a_lone_process(accelerator: Accelerator) -> None:
    """Reject the one process that `accelerate launch --cpu --num_processes N` starts.

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
    """Report that a process is gone where gloo or NCCL reports a broken connection."""
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


def sum_over_processes(accelerator: Accelerator) -> Callable[[Tensor], Tensor]:
    """Return the reduction that makes every process know the sum."""
    if accelerator.num_processes == 1:
        return lambda value: value
    return lambda value: accelerator.reduce(value, reduction="sum")  # pyright: ignore


@contextmanager
def first_process_writes(accelerator: Accelerator, folder: Path) -> Iterator[None]:
    """Hold a folder by the first process for all; raise in every process if it cannot."""
    with ExitStack() as held:
        failure = None
        if accelerator.is_main_process:
            try:
                held.enter_context(only_writer(folder))
            except (UserError, OSError) as error:
                failure = error
        refused = torch.tensor([float(failure is not None)], device=accelerator.device)
        if sum_over_processes(accelerator)(refused):
            raise failure or UserError(f"the first process may not write {folder}; see its message")
        yield


SAVE_SECONDS = 300.0  # between two states within an epoch
STEPS_BETWEEN_QUESTIONS = 20  # of several processes, or of a GPU


class Asked(NamedTuple):
    """What is to be done between two steps."""

    save: bool
    signal_number: int  # 0: none came


def asked(stage: Stage, state: State, signals: Signals, seconds: float) -> Asked:
    """Return whether to save and which signal to obey; several processes agree, now and then."""
    alone, due = stage.accelerator.num_processes == 1, seconds > SAVE_SECONDS
    now_and_then = state.counters.step % STEPS_BETWEEN_QUESTIONS == 0
    if not alone:
        if not now_and_then:
            return Asked(save=False, signal_number=0)
        due = agreed(stage, due)
    number = agreed_signal(stage, signals)
    if now_and_then or due or number:
        reject_divergence(stage, state)
    return Asked(due, number)


def agreed(stage: Stage, due: bool) -> bool:
    """Return what the first process says: its clock counts, since saving is a joint work."""
    if stage.accelerator.num_processes == 1:
        return due
    mine = [float(due and stage.accelerator.is_main_process)]
    answer = torch.tensor(mine, device=stage.accelerator.device)
    return bool(sum_over_processes(stage.accelerator)(answer))


def agreed_signal(stage: Stage, signals: Signals) -> int:
    """Return the signal that any process has received, or 0."""
    if stage.accelerator.num_processes == 1:
        return signals.number
    mine = [float(signals.number == number) for number in SIGNALS]
    counts = sum_over_processes(stage.accelerator)(
        torch.tensor(mine, device=stage.accelerator.device)
    )
    return max((number for number, n in zip(SIGNALS, counts.tolist(), strict=True) if n), default=0)


def stop_if_asked(stage: Stage, number: int, signals: Signals) -> None:
    """Obey a signal once the first process has saved for all."""
    if number:
        stage.accelerator.wait_for_everyone()
        signals.obey(number)


def reject_divergence(stage: Stage, state: State) -> None:
    """Stop at a loss that is infinite or NaN; no state was saved since.

    The CPU has looked at every step; a GPU is asked now and then, and before anything is saved.
    """
    if sync_is_free(stage.accelerator.device):
        return
    if bad := state.first_bad.read(stage.accelerator):
        raise divergence_error(stage, bad, state.counters.lr_scale)


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
