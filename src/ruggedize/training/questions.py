"""What several processes must agree on between two steps: to save, to stop, to give up."""

from typing import NamedTuple

import torch

from ruggedize.training.divergence import refusal, sync_is_free
from ruggedize.training.interruption import SIGNALS, Signals
from ruggedize.training.job import Job
from ruggedize.training.processes import sum_over_processes
from ruggedize.training.state import State

SAVE_SECONDS = 300.0  # between two states within an epoch
STEPS_BETWEEN_QUESTIONS = 20  # of several processes, or of a GPU


class Asked(NamedTuple):
    """What is to be done between two steps."""

    save: bool
    signal_number: int  # 0: none came


def asked(job: Job, state: State, signals: Signals, seconds: float) -> Asked:
    """Tell whether to save and which signal to obey; several processes agree, now and then."""
    alone, due = job.accelerator.num_processes == 1, seconds > SAVE_SECONDS
    now_and_then = state.counters.step % STEPS_BETWEEN_QUESTIONS == 0
    if not alone:
        if not now_and_then:
            return Asked(save=False, signal_number=0)
        # the first process's clock counts: saving adds up over the processes
        mine = [float(due and job.accelerator.is_main_process)]
        answer = torch.tensor(mine, device=job.accelerator.device)
        due = bool(sum_over_processes(job.accelerator)(answer))
    number = agreed_signal(job, signals)
    if now_and_then or due or number:
        refuse_divergence(job, state)
    return Asked(due, number)


def agreed_signal(job: Job, signals: Signals) -> int:
    """Give the signal that a process has got, if one did: it may have reached only one of them."""
    if job.accelerator.num_processes == 1:
        return signals.number
    mine = [float(signals.number == number) for number in SIGNALS]
    counts = sum_over_processes(job.accelerator)(torch.tensor(mine, device=job.accelerator.device))
    return max((number for number, n in zip(SIGNALS, counts.tolist(), strict=True) if n), default=0)


def stop_if_asked(job: Job, number: int, signals: Signals) -> None:
    """Obey a signal once the first process has saved for all."""
    if number:
        job.accelerator.wait_for_everyone()
        signals.obey(number)


def refuse_divergence(job: Job, state: State) -> None:
    """Stop at a loss that is infinite or NaN; no state was saved since.

    The CPU has looked at every step; a GPU is asked now and then, and before anything is saved.
    """
    if sync_is_free(job.accelerator.device):
        return
    if bad := state.first_bad.read(job.accelerator):
        raise refusal(job, bad, state.counters.rate_share)
