"""One training step."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ruggedize.core import seeding
from ruggedize.core.errors import UserError
from ruggedize.models import keyed_rows, updating_statistics
from ruggedize.train.batches import StepBatch
from ruggedize.train.checkpoint import State
from ruggedize.train.distributed import sum_over_processes
from ruggedize.train.fine_tuning.probe import discard_gradients
from ruggedize.train.objectives.objective import Batch, StatefulObjective, Term
from ruggedize.train.optim import set_rate
from ruggedize.train.safety import check_finite
from ruggedize.train.stage import Stage

Sums = dict[str, Tensor]  # sums of terms as "PER/NAME", counts as "count/PER"
RANDOM = ("timm", "custom")  # networks that may draw from torch's generators


def step(
    stage: Stage, state: State, network: nn.Module, autocast: torch.autocast, planned: StepBatch
) -> Sums:
    """Run one optimiser step on this process's share of a batch and return the share's sums.

    Raises:
        NotFinite: loss or gradient is not finite (checked here on the CPU only); the weights have
            not been updated and the buffers are restored.
    """
    set_rate(state.optimiser, stage.learning_rate(planned.step, state.counters.lr_scale))
    state.buffers.keep()
    with keyed_draws(stage, planned.step):
        loss, sums = gradients(stage, network, autocast, planned.batch)
    if planned.step < stage.num_probe_steps:
        discard_gradients(state.body)
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


@contextlib.contextmanager
def keyed_draws(stage: Stage, step: int) -> Iterator[None]:
    """Key all draws of the network by seed and planned step within the `with` block.

    The masks of our own networks depend only on this key and the image. Other networks draw from
    torch's generators, which are keyed by the process as well: unlike views, their draws depend on
    the processes and micro-batches that share a step. A resumed training draws the same numbers.
    """
    key = int(seeding.stream_key(stage.seed, f"{stage.name}/network", step))
    with keyed_rows(stage.model, key), torch_draws(stage, step):
        yield


@contextlib.contextmanager
def torch_draws(stage: Stage, step: int) -> Iterator[None]:
    """Key torch's generators by seed, process and planned step within the `with` block."""
    if stage.model.architecture.name not in RANDOM:
        yield
        return
    device = stage.accelerator.device
    purpose = f"{stage.name}/network/{stage.accelerator.process_index}"
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seeding.stream_key(stage.seed, purpose, step)))
        yield


def gradients(
    stage: Stage, network: nn.Module, autocast: torch.autocast, batch: Batch
) -> tuple[Tensor, Sums]:
    """Accumulate the gradient of the whole batch and return the loss and the sums."""
    accelerator, sums = stage.accelerator, counts_as_sums(batch, stage.accelerator.device)
    scales = scales_of(stage, batch.counts)
    microbatches = batch.to(accelerator.device).split(
        stage.options.microbatches, stage.ghosts_per_microbatch
    )
    losses = []
    for number, microbatch in enumerate(microbatches, 1):
        is_last = number == len(microbatches)
        gradient_sync = contextlib.nullcontext() if is_last else accelerator.no_sync(network)
        with gradient_sync, updating_statistics(stage.model, number == 1):
            with autocast:
                terms = checked_terms(stage, stage.objective.loss(network, microbatch), batch)
            loss = weighted(terms, scales)
            accelerator.backward(loss)
        losses.append(loss.detach())
        add_sums(sums, sums_of(terms))
    return torch.stack(losses).sum(), sums


def checked_terms(stage: Stage, terms: Any, batch: Batch) -> Mapping[str, Term]:
    """Return the terms of an objective, which may be a user's own.

    Raises:
        UserError: one is not a scalar `Term`, its count is unknown, or none has a weight.
    """
    if not isinstance(terms, Mapping):
        raise UserError(
            f"{stage.name}: the objective's loss must return a mapping of terms, got "
            f"{type(terms).__name__};\nreturn {{'cross_entropy': Term(losses.sum(), 'images')}}"
        )
    for name, term in terms.items():
        if name == "loss":
            raise UserError(
                f"{stage.name}: the objective's term loss would be added to the loss that is "
                "logged;\nuse another name, such as cross_entropy"
            )
        if not isinstance(term, Term) or term.total.ndim:
            raise UserError(
                f"{stage.name}: the objective's {name} must be a Term whose total is a scalar;\n"
                "return, for example, {'cross_entropy': Term(losses.sum(), 'images')}"
            )
        is_ratio = not term.weight and term.per in terms and term.per != name
        if term.per not in batch.counts and not is_ratio:
            raise UserError(
                f"{stage.name}: the term {name} is divided by the count {term.per!r}, which its "
                f"batch does not have;\nuse one of {', '.join(batch.counts)}"
            )
    if not any(term.weight for term in terms.values()):
        raise UserError(
            f"{stage.name}: every term of the objective has weight 0;\ngive one of them a weight"
        )
    return terms


def scales_of(stage: Stage, counts: Mapping[str, int]) -> dict[str, float | Tensor]:
    """Return the factor of each sum: 1 / (its count over all processes).

    The factor is multiplied by the world size, because gradients are averaged over processes.
    """
    processes = stage.accelerator.num_processes
    if processes == 1:
        return {name: 1.0 / max(1, count) for name, count in counts.items()}
    local = torch.tensor(list(map(float, counts.values())), device=stage.accelerator.device)
    total = sum_over_processes(stage.accelerator)(local).clamp(min=1.0)
    return dict(zip(counts, processes / total, strict=True))


def weighted(terms: Mapping[str, Term], scales: Mapping[str, float | Tensor]) -> Tensor:
    """Return the loss: the weighted sum of the terms, each divided by its count.

    Terms with the same count are added first and divided once.
    """
    groups: dict[object, tuple[Tensor, float | Tensor]] = {}
    for term in terms.values():
        if term.weight == 0:
            continue
        scale = scales[term.per]
        value = term.total if term.weight == 1 else term.weight * term.total
        key = scale if isinstance(scale, float) else term.per
        groups[key] = (groups[key][0] + value, scale) if key in groups else (value, scale)
    first, *others = (total * scale for total, scale in groups.values())
    return sum(others, first)


def sums_of(terms: Mapping[str, Term]) -> Sums:
    """Return the detached sum of each term and of the terms' contributions to the loss."""
    found = {f"{term.per}/{name}": term.total.detach() for name, term in terms.items()}
    for term in terms.values():
        if term.weight:
            add_sums(found, {f"{term.per}/loss": term.weight * term.total.detach()})
    return found


def counts_as_sums(batch: Batch, device: torch.device) -> Sums:
    """Return the batch's counts as tensors that can be summed like the terms."""
    return {
        f"count/{name}": torch.full((), float(count), device=device)
        for name, count in batch.counts.items()
    }


def add_sums(sums: Sums, more: Sums) -> None:
    """Add `more` to `sums`, in place."""
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def means_of(sums: Mapping[str, float]) -> dict[str, float]:
    """Return every sum divided by its count; a loss with several counts is the sum of its means.

    A metric may be divided by another one; it is left out if that is 0.
    """
    means: dict[str, float] = {}
    totals = {name: total for key, total in sums.items() for name in key.split("/", 1)[1:]}
    for key, total in sums.items():
        per, name = key.split("/", 1)
        if per == "count":
            continue
        if f"count/{per}" in sums:
            means[name] = means.get(name, 0.0) + total / max(1.0, sums[f"count/{per}"])
        elif totals[per]:
            means[name] = total / totals[per]
    return means
