"""One step of a training: taken whole, in parts where memory asks for it, or not at all."""

import contextlib
import logging

import torch
from torch import Tensor, nn

from ruggedize.memory import is_out_of_memory
from ruggedize.runs import UserError
from ruggedize.training.divergence import NotFinite, looking_is_free
from ruggedize.training.feeding import Batch, mapped, on_device
from ruggedize.training.job import Job
from ruggedize.training.objectives import Pair, Sums
from ruggedize.training.optimisers import set_rate
from ruggedize.training.processes import sum_over_processes
from ruggedize.training.state import Counters, State

TRIALS = 2  # steps that show whether parts fit: the optimiser's slots come with the first
log = logging.getLogger(__name__)


def step(
    job: Job, state: State, network: nn.Module, autocast: torch.autocast, batch: Batch
) -> Sums:
    """Take one step on this process's share of a batch and return the sums of that share.

    Raises:
        NotFinite: on the CPU, where looking is free; state and buffers are as they were before.
    """
    options, accelerator = job.options, job.accelerator
    set_rate(state.optimiser, job.learning_rate(batch.step, state.counters.rate_share))
    state.buffers.keep()
    sums = gradients(job, state, network, autocast, batch)
    weights = [weight for weight in job.model.parameters() if weight.grad is not None]
    norm = nn.utils.get_total_norm([weight.grad for weight in weights])  # pyright: ignore
    state.first_bad.note(sums["loss"], norm, batch.step + 1)
    if looking_is_free(accelerator.device) and (bad := state.first_bad.read(accelerator)):
        state.optimiser.zero_grad(set_to_none=True)
        state.buffers.restore()
        raise NotFinite(bad)
    if options.clip_norm:
        nn.utils.clip_grads_with_norm_(weights, options.clip_norm, norm)
    state.optimiser.step()
    state.optimiser.zero_grad(set_to_none=True)
    num_images = len(batch.pair.labels)
    return sums | {"images": torch.full((), num_images, device=accelerator.device)}


def gradients(
    job: Job, state: State, network: nn.Module, autocast: torch.autocast, batch: Batch
) -> Sums:
    """Leave the gradient of the whole batch in the parameters, halving the parts until they fit.

    Several processes exchange gradients while they are computed, so that none may fail alone in
    the midst of it. The first steps with parts of a size are therefore taken without: afterwards
    all know whether they fitted everywhere, and exchange then.
    """
    apart = job.accelerator.num_processes > 1 and state.trials < TRIALS
    while (sums := in_parts(job, state, network, autocast, batch, apart)) is None:
        halve(job, state)
    if apart:
        exchange(job)
    state.trials += 1
    return sums


def in_parts(
    job: Job,
    state: State,
    network: nn.Module,
    autocast: torch.autocast,
    batch: Batch,
    apart: bool,
) -> Sums | None:
    """Add up the gradients and sums of the parts; nothing where a process ran out of memory."""
    sums: Sums = {}
    pair = on_device(batch.pair, job.accelerator.device)
    parts = divided(pair, state.counters.num_parts, job.fewest_images)
    fitted = True
    try:
        for number, part in enumerate(parts, 1):
            waits = not apart and number < len(parts)
            with job.accelerator.no_sync(network) if waits else contextlib.nullcontext():
                with autocast:  # apart: past the wrapper, which would exchange buffers
                    loss, found = job.objective(job.model if apart else network, part)
                job.accelerator.backward(loss * (job.accelerator.num_processes / batch.num_images))
            add(sums, found)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        others_wait = not apart or job.options.sync_batch_norm
        if job.accelerator.num_processes > 1 and others_wait:
            raise out_of_memory(job, together=not job.options.sync_batch_norm) from error
        fitted = False
    if apart:
        failures = torch.tensor([float(not fitted)], device=job.accelerator.device)
        fitted = not sum_over_processes(job.accelerator)(failures)
    return sums if fitted else None


def divided(pair: Pair, num_parts: int, fewest: int) -> list[Pair]:
    """Divide a pair into parts of one size or one less; a small last batch into fewer."""
    num_parts = max(1, min(num_parts, len(pair.labels) // fewest))
    return [
        mapped(pair, lambda side, number=number: side.tensor_split(num_parts)[number])
        for number in range(num_parts)
    ]


def add(sums: dict[str, Tensor], more: Sums) -> None:
    """Add sums to those before, in place."""
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def halve(job: Job, state: State) -> None:
    """Undo a step that did not fit, and take it and all that follow in parts of half the size."""
    state.optimiser.zero_grad(set_to_none=True)
    state.buffers.restore()
    if job.accelerator.device.type == "cuda":
        torch.cuda.empty_cache()
    share = job.options.batch_size // job.accelerator.num_processes
    counters = state.counters
    if share < 2 * job.fewest_images * counters.num_parts:
        raise out_of_memory(job)
    counters.num_parts *= 2
    state.trials = 0
    if job.accelerator.is_main_process:
        log.warning(
            "%s: out of memory at step %d; from here on each step is taken in %d parts, and batch "
            "norm sees %d images at a time",
            *(job.name, counters.step + 1, counters.num_parts, seen_at_once(job, counters)),
        )


def seen_at_once(job: Job, counters: Counters) -> int:
    """Count the images that batch norm normalises together."""
    return max(1, job.options.batch_size // (job.num_parts * counters.num_parts))


def out_of_memory(job: Job, *, together: bool = False) -> UserError:
    """Say that memory does not suffice, and what to do.

    Where processes step together, the others end with this one: the launcher, or the broken
    connection, ends them.
    """
    if together:
        return UserError(
            f"{job.name}: {job.accelerator.device} is out of memory, where processes wait for one "
            "another;\ngive the same command again: its first two steps are taken apart, in parts "
            f"that fit. If it happens again, lower {job.name}.batch_size, with another --out"
        )
    return UserError(
        f"{job.name}: {job.accelerator.device} is out of memory;\n"
        f"lower {job.name}.batch_size (now {job.options.batch_size}), take a smaller "
        f"{job.name}.model or smaller views.resize and views.crop, with another --out"
    )


@torch.no_grad()
def exchange(job: Job) -> None:
    """Give every process the mean of all processes' gradients."""
    total = sum_over_processes(job.accelerator)
    for weight in job.model.parameters():
        if weight.requires_grad:
            own = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = total(own) / job.accelerator.num_processes
