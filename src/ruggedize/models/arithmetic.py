"""The arithmetic of a network, counted from shapes alone."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from ruggedize.models.options import ModelOptions
from ruggedize.models.registry import meta_model

NUM_IMAGES = 2  # batch norm needs two


def forward_flop(options: ModelOptions, num_classes: int, input_size: int) -> int:
    """Return the floating-point operations of one image's forward pass.

    Convolutions and matrix products are counted, a multiplication and its addition as two.
    """
    network = meta_model(options, num_classes, input_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(NUM_IMAGES, 3, input_size, input_size, device="meta"))
    return counter.get_total_flops() // NUM_IMAGES
