"""The interface of an architecture."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Architecture(NamedTuple):
    """How a network is built and initialised.

    Every module in `models.nets` defines one as `ARCHITECTURE`; the module is named after the model
    in the options.

    Args:
        layout: `layout(options, num_classes)` returns the network without initial weights.
        fill: `fill(network, generator)` initialises the weights in place.
        fit: `fit(network, images)` fits a layer to normalised images `[n, 3, h, w]`; None if no
            layer is fitted.
        smallest_input: side of the smallest images that the network takes, in pixels.
    """

    layout: Callable[[Any, int], nn.Module]
    fill: Callable[[nn.Module, torch.Generator], None]
    fit: Callable[[Any, Tensor], None] | None = None
    smallest_input: int = 1
