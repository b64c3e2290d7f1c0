"""What the package needs to know of an architecture."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Architecture(NamedTuple):
    """How a network is laid out and gets its first weights.

    Every module of `models.nets` defines one as `ARCHITECTURE`; the module's name is the name by
    which options choose it.

    Args:
        layout: `layout(options, num_classes)` returns the network; its weights are filled later.
        fill: `fill(network, generator)` writes the first weights in place.
        fit: `fit(network, images)` fits a layer to normalised images `[n, 3, h, w]`, if one is.
    """

    layout: Callable[[Any, int], nn.Module]
    fill: Callable[[nn.Module, torch.Generator], None]
    fit: Callable[[Any, Tensor], None] | None = None
