"""Batch norm over parts of a batch or over several processes; weights, names and files stay."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

AnyBatchNorm = nn.modules.batchnorm._BatchNorm


class GhostBatchNorm(nn.BatchNorm2d):
    """Normalise equal parts of a batch separately, as so many processes would.

    The running statistics are the first part's, as several processes keep the first one's. The
    refresh of averaged weights (momentum None) takes its batches whole, as each process does.

    Source: Hoffer et al. 2017, "Train longer, generalize better", algorithm 1.
    Deviation: there every part enters the running statistics.
    """

    def __init__(self, layer: nn.BatchNorm2d, num_groups: int) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)
        self.num_groups = num_groups
        self.rows_per_image = 1  # an image's views are neighbours, and stay in one part
        self.updates_statistics = True  # False for all micro-batches of a step but the first

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalise each part by its own mean and variance; in eval mode by the running ones."""
        if not self.training or self.momentum is None:
            return super().forward(input)
        whole, rest = divmod(len(input) // self.rows_per_image, self.num_groups)
        images = [whole + (number < rest) for number in range(self.num_groups)]
        first, *others = input.split([self.rows_per_image * n for n in images if n])
        update = super().forward if self.updates_statistics else self.normalise
        return torch.cat([update(first), *map(self.normalise, others)])

    def normalise(self, part: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalise by the part's own mean and variance."""
        return F.batch_norm(part, None, None, self.weight, self.bias, training=True, eps=self.eps)


class SynchronisedBatchNorm(nn.SyncBatchNorm):
    """Normalise by the mean and variance over all processes' parts of a batch (torch's, on GPUs).

    In the refresh of averaged weights (momentum None) each process is on its own: one may have a
    batch more than another, which would wait for it for ever.
    """

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalise by all processes' statistics; in eval mode by the running ones."""
        if self.momentum is None:
            return AnyBatchNorm.forward(self, input)
        return super().forward(input)


@contextmanager
def several_views(network: nn.Module, number: int) -> Iterator[None]:
    """Keep the views of an image in one part of ghost batch norm in this block.

    The views of an image are neighbouring rows of the batch.
    """
    layers = [module for module in network.modules() if isinstance(module, GhostBatchNorm)]
    for layer in layers:
        layer.rows_per_image = number
    try:
        yield
    finally:
        for layer in layers:
            layer.rows_per_image = 1


@contextmanager
def updating_statistics(network: nn.Module, update: bool) -> Iterator[None]:
    """Update the running statistics of ghost batch norm in this block, or leave them alone."""
    layers = [module for module in network.modules() if isinstance(module, GhostBatchNorm)]
    for layer in layers:
        layer.updates_statistics = update
    try:
        yield
    finally:
        for layer in layers:
            layer.updates_statistics = True


def batch_norms(network: nn.Module) -> list[AnyBatchNorm]:
    """List the batch-norm layers of a network."""
    return [module for module in network.modules() if isinstance(module, AnyBatchNorm)]


def replace_batch_norm(network: nn.Module, make: Callable[[nn.BatchNorm2d], AnyBatchNorm]) -> None:
    """Replace every batch norm by a layer of another kind that has the same tensors."""
    places = [
        (parent, name, layer)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    for parent, name, layer in places:
        setattr(parent, name, holding_tensors_of(layer, make(layer)))


def holding_tensors_of(layer: nn.BatchNorm2d, other: AnyBatchNorm) -> AnyBatchNorm:
    """Return another layer that holds this one's parameters and buffers."""
    for name in [*dict(other.named_parameters()), *dict(other.named_buffers())]:
        delattr(other, name)
    for name, weight in layer.named_parameters():
        other.register_parameter(name, weight)
    for name, buffer in layer.named_buffers():
        other.register_buffer(name, buffer)
    return other.train(layer.training)
