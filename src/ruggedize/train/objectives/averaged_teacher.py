"""A teacher that is the average of the trained network's own weights."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ruggedize.models import batch_norms, joint_logits
from ruggedize.train.average import decay_after
from ruggedize.train.objectives.objective import Context


@dataclass(frozen=True)
class AveragedTeacher:
    """The exponential moving average of the network's weights, updated after every step.

    Its batch norm normalises as the network's does: by the batch, or in a linear probe by the
    running statistics. Nothing in it is dropped. From random weights, the decay has a warm-up.
    """

    context: Context
    decay: float

    @cached_property
    def network(self) -> nn.Module:
        """The averaged network, initially a copy of the trained one."""
        network = copy.deepcopy(self.context.model).requires_grad_(False).eval()
        self.match_batch_norm_modes(network)
        return network

    @torch.no_grad()
    def logits(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Return the logits of each batch of views, float32; all share one forward pass."""
        self.match_batch_norm_modes(self.network)
        return [logits.float() for logits in joint_logits(self.network, views)]

    def match_batch_norm_modes(self, network: nn.Module) -> None:
        """Set the batch-norm layers to the mode (training or eval) of the trained network's."""
        pairs = zip(batch_norms(network), batch_norms(self.context.model), strict=True)
        for averaged, trained in pairs:
            averaged.train(trained.training)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights after a step, counted from 1."""
        decay = self.decay  # a warm-up would drop trained weights within a few steps
        update_weight = 1.0 - (decay if self.context.starts_trained else decay_after(decay, step))
        weights = [weight.detach() for weight in model.parameters()]
        averages = list(self.network.parameters())
        torch._foreach_lerp_(averages, weights, update_weight)  # pyright: ignore

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged weights; the running statistics are the network's first ones."""
        return dict(self.network.named_parameters())

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the averaged weights."""
        for name, weight in self.network.named_parameters():
            weight.copy_(state[name])
