"""First weights of each architecture, drawn from one generator in the order of the modules."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Draw = Callable[[Tensor, torch.Generator], Tensor]


def glorot_uniform(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from U(-a, a), a^2 = 6 / (fan in + fan out).

    Source: Glorot & Bengio 2010; Keras' default for convolutions and dense layers.
    """
    return nn.init.xavier_uniform_(weight, generator=generator)


def he_normal(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from N(0, 2 / fan out) (He et al. 2015, eq. 14)."""
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)


def fan_in_uniform(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from U(-a, a), a^2 = 1 / fan in.

    Source: LeCun et al. 1998, section 4.6; torch's default, with which ResNet9's published
    learning rates were found (under batch norm a weight's size sets its effective rate).
    """
    return nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)


def identity_then_uniform(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Let the first output channels pass the input channels on; draw the others as torch does.

    Source: Zagoruyko & Komodakis 2017, "DiracNets"; partial for layers that widen (Jordan 2024).
    """
    fan_in_uniform(weight, generator)
    nn.init.dirac_(weight[: weight.shape[1]])
    return weight


DRAWS: dict[str, tuple[Draw, Draw]] = {  # for the kernels, for the head
    "resnet50v2": (glorot_uniform, glorot_uniform),
    "resnet9": (fan_in_uniform, fan_in_uniform),
    "airbench": (identity_then_uniform, fan_in_uniform),
    "preact_resnet18": (he_normal, fan_in_uniform),
    "wide_resnet": (he_normal, fan_in_uniform),
}


@torch.no_grad()
def fill(network: nn.Module, name: str, generator: torch.Generator) -> None:
    """Give every layer its first values: drawn kernels, zero biases, batch norm at identity."""
    draw_kernel, draw_head = DRAWS[name]
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
