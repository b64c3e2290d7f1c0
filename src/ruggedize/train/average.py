"""Running averages of the weights: EMA, SWA, and the batch-norm refresh that both need."""

import copy
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ruggedize.train.optim import Ema, NoAveraging, Swa


class Average:
    """The running average of a model's weights, and how many snapshots are in it."""

    def __init__(self, model: nn.Module, options: Ema | Swa, num_steps: int) -> None:
        self.options = options
        self.first_step = int(options.start * num_steps)
        self.num_snapshots = 0
        self.weights = [p.detach().clone() for p in model.parameters()]

    def update(self, model: nn.Module, step: int) -> None:
        """Add the weights after planned step `step` (from 1) if the options ask for it."""
        since = step - self.first_step
        every = self.options.every if isinstance(self.options, Swa) else 1
        if since < 1 or since % every:
            return
        current = [weight.detach() for weight in model.parameters()]
        torch._foreach_lerp_(self.weights, current, self.share())  # pyright: ignore
        self.num_snapshots += 1

    def share(self) -> float:
        """Return the weight of the next snapshot; the first is copied whole."""
        if isinstance(self.options, Swa):
            return 1.0 / (self.num_snapshots + 1)
        return 1.0 - decay_after(self.options.decay, self.num_snapshots)

    def last_decay(self) -> float | None:
        """Return the decay of an EMA's latest update; None if there was none."""
        if isinstance(self.options, Swa) or not self.num_snapshots:
            return None
        return decay_after(self.options.decay, self.num_snapshots - 1)

    def copy_into(self, model: nn.Module) -> None:
        """Write the average into a model of the same architecture."""
        with torch.no_grad():
            torch._foreach_copy_(list(model.parameters()), self.weights)  # pyright: ignore


def decay_after(decay: float, num_snapshots: int) -> float:
    """Return the decay of an EMA's update once so many snapshots are in it.

    A fixed decay, and a plain mean to begin with as well, would keep the weights of the first
    steps for 1 / (1 - decay) steps.

    Source: `tf.train.ExponentialMovingAverage` with `num_updates`.
    Deviation: the first snapshot is copied whole, so that the initial weights leave no trace.
    """
    if num_snapshots == 0:
        return 0.0
    return min(decay, (1 + num_snapshots) / (10 + num_snapshots))


def updates_for(decay: float) -> int:
    """Return the number of updates, the last of which has this decay."""
    return max(1, math.ceil(9 * decay / (1 - decay) - 1e-9))


def reachable_decay(num_updates: int) -> float:
    """Return a short number close to the highest decay that so many updates reach."""
    gap = 9 / (num_updates + 9)
    digits = 1 - math.floor(math.log10(gap))
    return round(1 - math.ceil(gap * 10**digits) / 10**digits, digits)


def average_for(
    model: nn.Module, options: NoAveraging | Ema | Swa, num_steps: int
) -> Average | None:
    """Build the average that the options ask for."""
    return None if isinstance(options, NoAveraging) else Average(model, options, num_steps)


def averaged_copy(model: nn.Module, average: Average) -> nn.Module:
    """Return a copy of the model with the averaged weights; its batch-norm needs a refresh."""
    twin = copy.deepcopy(model)
    average.copy_into(twin)
    return twin


def refresh_batch_norm(
    model: nn.Module,
    batches: Iterable[Tensor],
    autocast: torch.autocast,
    sum_over_processes: Callable[[Tensor], Tensor] = lambda value: value,
) -> None:
    """Recompute batch-norm statistics as the plain mean over the batches of all processes.

    Averaged weights have other activations than any of the weights they come from, so the
    statistics gathered in training are wrong for them (Izmailov et al. 2018, section 3.2).
    Only batch norm is in training mode meanwhile, and no random state is touched.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch: the plain mean over batches
        layer.train()
    num_batches = 0
    with torch.no_grad(), autocast:
        for batch in batches:
            model(batch)
            num_batches += 1
    share_statistics(layers, num_batches, sum_over_processes)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for module, training in modes:
        module.training = training


@torch.no_grad()
def share_statistics(
    layers: list[nn.modules.batchnorm._BatchNorm],
    num_batches: int,
    sum_over_processes: Callable[[Tensor], Tensor],
) -> None:
    """Set the statistics of every process to the mean over all batches of all processes."""
    for layer in layers:
        for statistic in (layer.running_mean, layer.running_var):
            assert statistic is not None
            count = statistic.new_tensor([num_batches])
            total = sum_over_processes(torch.cat([statistic * num_batches, count]))
            statistic.copy_(total[:-1] / total[-1])
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked.copy_(total[-1])
