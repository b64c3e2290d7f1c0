"""Optimisers from options; weight decay on matrices and kernels only."""

import torch
from torch import nn

from ruggedize.training.options import Adam, AdamW, Sgd

FACTOR = "lr_factor"  # of a parameter group


def optimiser_for(model: nn.Module, options: Adam | AdamW | Sgd) -> torch.optim.Optimizer:
    """Build the optimiser; biases and batch-norm weights (one-dimensional) are never decayed."""
    weights = [p for p in model.parameters() if p.requires_grad]
    if isinstance(options, Adam):
        betas = (options.beta1, options.beta2)
        return torch.optim.Adam(weights, options.lr, betas, options.epsilon, fused=True)
    factor = options.bias_lr_factor if isinstance(options, Sgd) else 1.0
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0, FACTOR: factor},
    ]
    if isinstance(options, AdamW):
        betas = (options.beta1, options.beta2)
        return torch.optim.AdamW(groups, options.lr, betas, options.epsilon, fused=True)
    nesterov = options.momentum > 0
    return torch.optim.SGD(
        groups, options.lr, momentum=options.momentum, nesterov=nesterov, fused=True
    )


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group: `lr` times the group's own factor, if it has one."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get(FACTOR, 1.0)
