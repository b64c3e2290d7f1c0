"""One step of a training."""

import contextlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ruggedize.models import updating_statistics
from ruggedize.train.batches import StepBatch
from ruggedize.train.checkpoint import State
from ruggedize.train.distributed import sum_over_processes
from ruggedize.train.objectives.objective import Batch, StatefulObjective, Term
from ruggedize.train.optim import set_rate
from ruggedize.train.safety import check_finite
from ruggedize.train.stage import Stage

Sums = dict[str, Tensor]  # of terms under PER/NAME, of counts under count/PER


def step(
    stage: Stage, state: State, network: nn.Module, autocast: torch.autocast, planned: StepBatch
) -> Sums:
    """Take one step on this process's share of a batch and return the sums of that share.

    Raises:
        NotFinite: on the CPU, where every step is checked; state and buffers are unchanged.
    """
    set_rate(state.optimiser, stage.learning_rate(planned.step, state.counters.lr_scale))
    state.buffers.keep()
    loss, sums = gradients(stage, network, autocast, planned.batch)
    weights = [weight for weight in stage.model.parameters() if weight.grad is not None]
    norm = nn.utils.get_total_norm([weight.grad for weight in weights])  # pyright: ignore
    check_finite(stage, state, loss, norm, planned.step + 1)
    if stage.options.clip_norm:
        nn.utils.clip_grads_with_norm_(weights, stage.options.clip_norm, norm)
    state.optimiser.step()
    state.optimiser.zero_grad(set_to_none=True)
    if isinstance(stage.objective, StatefulObjective):
        stage.objective.after_step(stage.model, planned.step + 1)
    return sums


def gradients(
    stage: Stage, network: nn.Module, autocast: torch.autocast, batch: Batch
) -> tuple[Tensor, Sums]:
    """Leave the gradient of the whole batch in the parameters; return the loss and the sums."""
    accelerator, sums = stage.accelerator, counted(batch, stage.accelerator.device)
    scales = scales_of(stage, batch.counts)
    parts = batch.to(accelerator.device).split(stage.options.microbatches, stage.ghosts_each)
    losses = []
    for number, part in enumerate(parts, 1):
        is_last = number == len(parts)
        exchange = contextlib.nullcontext() if is_last else accelerator.no_sync(network)
        with exchange, updating_statistics(stage.model, number == 1):
            with autocast:
                terms = stage.objective.loss(network, part)
            loss = weighted(terms, scales)
            accelerator.backward(loss)
        losses.append(loss.detach())
        add(sums, sums_of(terms))
    return torch.stack(losses).sum(), sums


def scales_of(stage: Stage, counts: Mapping[str, int]) -> dict[str, float | Tensor]:
    """Return what each sum is multiplied by: one over its count, summed over the processes.

    The number of processes is a factor, because their gradients are averaged.
    """
    processes = stage.accelerator.num_processes
    if processes == 1:
        return {name: 1.0 / max(1, count) for name, count in counts.items()}
    own = torch.tensor([float(count) for count in counts.values()], device=stage.accelerator.device)
    everywhere = sum_over_processes(stage.accelerator)(own).clamp(min=1.0)
    return dict(zip(counts, processes / everywhere, strict=True))


def weighted(terms: Mapping[str, Term], scales: Mapping[str, float | Tensor]) -> Tensor:
    """Return the loss: every term by its weight, divided by its count.

    Terms of equal counts are added up first and divided once.
    """
    groups: dict[object, tuple[Tensor, float | Tensor]] = {}
    for term in terms.values():
        if term.weight == 0:
            continue
        scale = scales[term.per]
        part = term.total if term.weight == 1 else term.weight * term.total
        key = scale if isinstance(scale, float) else term.per
        groups[key] = (groups[key][0] + part, scale) if key in groups else (part, scale)
    first, *others = (total * scale for total, scale in groups.values())
    return sum(others, first)


def sums_of(terms: Mapping[str, Term]) -> Sums:
    """Return the terms' sums, and what they contribute to the loss, detached."""
    found = {f"{term.per}/{name}": term.total.detach() for name, term in terms.items()}
    for term in terms.values():
        if term.weight:
            part = term.weight * term.total.detach()
            add(found, {f"{term.per}/loss": part})
    return found


def counted(batch: Batch, device: torch.device) -> Sums:
    """Return the counts as sums."""
    return {
        f"count/{name}": torch.full((), float(count), device=device)
        for name, count in batch.counts.items()
    }


def add(sums: Sums, more: Sums) -> None:
    """Add sums to those before, in place."""
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def means_of(sums: Mapping[str, float]) -> dict[str, float]:
    """Divide every sum by its count, once; the loss is the sum of its parts."""
    means: dict[str, float] = {}
    for key, total in sums.items():
        per, name = key.split("/", 1)
        if per != "count":
            means[name] = means.get(name, 0.0) + total / max(1.0, sums[f"count/{per}"])
    return means
