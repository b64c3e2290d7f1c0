"""Ghost and synchronised batch norm, with the parameter names and file format of batch norm."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

AnyBatchNorm = nn.modules.batchnorm._BatchNorm


class GhostBatchNorm(nn.BatchNorm2d):
    """Batch norm that normalises equal groups of a batch separately, like that many processes.

    Only the first group updates the running statistics, just as distributed training keeps those of
    the first process. The batch-norm refresh (momentum None) does not split batches.

    Source: Hoffer et al. 2017, "Train longer, generalize better", algorithm 1.
    Deviation: in the paper, every group updates the running statistics.
    """

    def __init__(self, layer: nn.BatchNorm2d, num_groups: int) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)
        self.num_groups = num_groups
        self.rows_per_image = 1  # number of adjacent rows that stay in the same group
        self.updates_statistics = True  # True only for the first micro-batch of a step

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalise each group with its own statistics; in eval mode, use the running ones."""
        if not self.training or self.momentum is None:
            return super().forward(input)
        quotient, remainder = divmod(len(input) // self.rows_per_image, self.num_groups)
        images = [quotient + (number < remainder) for number in range(self.num_groups)]
        first, *others = input.split([self.rows_per_image * n for n in images if n])
        update = super().forward if self.updates_statistics else self.normalise
        return torch.cat([update(first), *map(self.normalise, others)])

    def normalise(self, group: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalise with the group's own mean and variance."""
        return F.batch_norm(group, None, None, self.weight, self.bias, training=True, eps=self.eps)


class SynchronisedBatchNorm(nn.SyncBatchNorm):
    """Torch's batch norm over the batches of all processes; GPUs only.

    The batch-norm refresh (momentum None) is not synchronised, because processes may have different
    numbers of batches and would deadlock.
    """

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalise with the statistics of all processes; in eval mode, use the running ones."""
        if self.momentum is None:
            return AnyBatchNorm.forward(self, input)
        return super().forward(input)


@contextmanager
def several_views(network: nn.Module, number: int) -> Iterator[None]:
    """Keep the views of an image in one group of ghost batch norm, within a `with` block.

    The `number` views of an image must be adjacent rows of the batch.
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
    """Set whether ghost batch norm updates its running statistics, within a `with` block."""
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
    """Replace every batch-norm layer with a layer of another kind that shares its tensors."""
    places = [
        (parent, name, layer)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    for parent, name, layer in places:
        setattr(parent, name, share_tensors(layer, make(layer)))


def share_tensors(layer: nn.BatchNorm2d, other: AnyBatchNorm) -> AnyBatchNorm:
    """Make `other` share the parameters and buffers of `layer`, and return it."""
    for name in [*dict(other.named_parameters()), *dict(other.named_buffers())]:
        delattr(other, name)
    for name, weight in layer.named_parameters():
        other.register_parameter(name, weight)
    for name, buffer in layer.named_buffers():
        other.register_buffer(name, buffer)
    return other.train(layer.training)
