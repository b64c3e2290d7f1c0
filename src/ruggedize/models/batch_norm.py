"""Ghost and synchronised batch norm, with the parameter names and file format of batch norm."""

from collections.abc import Callable, Iterator, Sequence
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
        self.sizes: list[int] | None = None  # rows of each group; None: (almost) equal groups
        self.updates_statistics = True  # True only for the first micro-batch of a step

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalise each group with its own statistics; in eval mode, use the running ones."""
        if not self.training or self.momentum is None:
            return super().forward(input)
        quotient, remainder = divmod(len(input), self.num_groups)
        equal = [quotient + (number < remainder) for number in range(self.num_groups)]
        first, *others = input.split([n for n in self.sizes or equal if n])
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


def joint_logits(network: nn.Module, batches: Sequence[Tensor]) -> list[Tensor]:
    """Return the logits of several batches from one forward pass, in which they are normalised.

    Each group of ghost batch norm gets the same share of every batch, so that the logits depend
    neither on the micro-batches nor on the number of processes.

    Args:
        network: maps views `[n, 3, h, w]` to logits.
        batches: views `[n, 3, h, w]`, or several views of each image `[n, v, 3, h, w]`; the
            logits are `[n, k]` or `[n, v, k]`.
    """
    layers = [module for module in network.modules() if isinstance(module, GhostBatchNorm)]
    num_groups = layers[0].num_groups if layers else 1
    pieces = [batch.tensor_split(num_groups) for batch in batches]
    rows = [piece.flatten(0, -4) for group in zip(*pieces, strict=True) for piece in group]
    lengths = [len(piece) for piece in rows]
    step = len(batches)
    for layer in layers:
        layer.sizes = [sum(lengths[at : at + step]) for at in range(0, len(lengths), step)]
    try:
        logits = network(rows[0] if len(rows) == 1 else torch.cat(rows)).split(lengths)
    finally:
        for layer in layers:
            layer.sizes = None
    joined = (torch.cat(logits[at::step]) for at in range(step))
    return [
        found.unflatten(0, batch.shape[:-3]) for found, batch in zip(joined, batches, strict=True)
    ]


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
