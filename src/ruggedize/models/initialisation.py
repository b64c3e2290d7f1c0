"""Weight initialisation; all draws come from one generator, in module order."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

Draw = Callable[[Tensor, torch.Generator], Tensor]


def glorot_uniform(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw weights in place from U(-a, a), where a^2 = 6 / (fan in + fan out).

    Source: Glorot & Bengio 2010; Keras' default for convolutions and dense layers.
    """
    return nn.init.xavier_uniform_(weight, generator=generator)


def he_normal(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw weights in place from N(0, 2 / fan out).

    Source: He et al. 2015, eq. 14.
    """
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)


def fan_in_uniform(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw weights in place from U(-a, a), where a^2 = 1 / fan in.

    Source: LeCun et al. 1998, section 4.6; torch's default. ResNet9's published learning rates
    were tuned for it: with batch norm, the scale of a weight changes its effective learning rate.
    """
    return nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)


def identity_then_uniform(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Initialise the first output channels as the identity and the others with torch's default.

    Source: Zagoruyko & Komodakis 2017, "DiracNets"; Jordan 2024 for layers that add channels.
    """
    fan_in_uniform(weight, generator)
    nn.init.dirac_(weight[: weight.shape[1]])
    return weight


def filling(draw_kernel: Draw, draw_head: Draw) -> Callable[[nn.Module, torch.Generator], None]:
    """Return a function that initialises all layers of a network from these distributions."""
    return partial(fill, draw_kernel, draw_head)


@torch.no_grad()
def fill(
    draw_kernel: Draw, draw_head: Draw, network: nn.Module, generator: torch.Generator
) -> None:
    """Initialise convolutions with `draw_kernel` and linear layers with `draw_head`, in place."""
    for module in network.modules():
        match module:
            case nn.Conv2d():
                draw_kernel(module.weight, generator)
            case nn.Linear():
                draw_head(module.weight, generator)
            case nn.BatchNorm2d():
                module.reset_parameters()
                continue
            case _:
                continue
        if module.bias is not None:
            module.bias.zero_()
