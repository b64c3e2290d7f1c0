"""Weight averaging: EMA, SWA, and the batch-norm refresh that both need."""

import copy
import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from ruggedize.train.optim import Ema, NoAveraging, Swa


class Average:
    """Running average of a model's weights, with the number of snapshots in it."""

    def __init__(self, model: nn.Module, options: Ema | Swa, num_steps: int) -> None:
        self.options = options
        self.first_step = int(options.start * num_steps)
        self.num_snapshots = 0
        self.weights = [p.detach().clone() for p in model.parameters()]

    def update(self, model: nn.Module, step: int) -> None:
        """Update the average after planned step `step` (from 1) if the options schedule it."""
        since = step - self.first_step
        every = self.options.every if isinstance(self.options, Swa) else 1
        if since < 1 or since % every:
            return
        current = [weight.detach() for weight in model.parameters()]
        torch._foreach_lerp_(self.weights, current, self.share())  # pyright: ignore
        self.num_snapshots += 1

    def share(self) -> float:
        """Return the weight of the next snapshot; 1 for the first."""
        if isinstance(self.options, Swa):
            return 1.0 / (self.num_snapshots + 1)
        return 1.0 - decay_after(self.options.decay, self.num_snapshots)

    def last_decay(self) -> float | None:
        """Return the decay of the latest EMA update; None for SWA or before the first update."""
        if isinstance(self.options, Swa) or not self.num_snapshots:
            return None
        return decay_after(self.options.decay, self.num_snapshots - 1)

    def copy_into(self, model: nn.Module) -> None:
        """Write the average into a model of the same architecture."""
        with torch.no_grad():
            torch._foreach_copy_(list(model.parameters()), self.weights)  # pyright: ignore


def decay_after(decay: float, num_snapshots: int) -> float:
    """Return the decay of the next EMA update, given the number of snapshots in the average.

    The decay warms up: with a fixed decay, or a plain mean at the start, the weights of the first
    steps would influence the average for about 1 / (1 - decay) steps.

    Source: `tf.train.ExponentialMovingAverage` with `num_updates`.
    Deviation: the first update has decay 0, so the initial weights do not enter the average.
    """
    if num_snapshots == 0:
        return 0.0
    return min(decay, (1 + num_snapshots) / (10 + num_snapshots))


def updates_for(decay: float) -> int:
    """Return the number of updates after which the warm-up reaches this decay."""
    return max(1, math.ceil(9 * decay / (1 - decay) - 1e-9))


def reachable_decay(num_updates: int) -> float:
    """Return the highest decay that `num_updates` updates reach; 1 - decay has two digits."""
    gap = 9 / (num_updates + 9)
    digits = 1 - math.floor(math.log10(gap))
    return round(1 - math.ceil(gap * 10**digits) / 10**digits, digits)


def average_for(
    model: nn.Module, options: NoAveraging | Ema | Swa, num_steps: int
) -> Average | None:
    """Build the average that the options describe; None without averaging."""
    return None if isinstance(options, NoAveraging) else Average(model, options, num_steps)


def averaged_copy(model: nn.Module, average: Average) -> nn.Module:
    """Return a copy of the model with the averaged weights; refresh its batch norm before use."""
    averaged = copy.deepcopy(model)
    average.copy_into(averaged)
    return averaged


def even_batches(chosen: np.ndarray, size: int, min_images: int) -> list[np.ndarray]:
    """Split positions into batches for the refresh: up to `size`, and at least `min_images`."""
    num_batches = min(-(-len(chosen) // size), len(chosen) // min_images)
    return np.array_split(chosen, num_batches)  # sizes differ by at most 1: equal weights


def refresh_batch_norm(
    model: nn.Module,
    batches: Iterable[Tensor],
    autocast: torch.autocast,
    sum_over_processes: Callable[[Tensor], Tensor] = lambda value: value,
) -> None:
    """Recompute batch-norm statistics as the unweighted mean over the batches of all processes.

    Averaged weights produce different activations from the weights they average, so the running
    statistics collected in training do not fit them (Izmailov et al. 2018, section 3.2).
    Only the batch-norm layers are switched to training mode, and no random state changes.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch then takes the unweighted mean over batches
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
