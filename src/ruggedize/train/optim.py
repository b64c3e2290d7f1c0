"""Optimisers and learning rates from options; weight decay on matrices and kernels only."""

import math

import torch
from torch import nn

from ruggedize.train.optim_options import (
    Adam,
    AdamW,
    Constant,
    Cosine,
    EarlyStopping,
    OneCycle,
    Plateau,
    Sgd,
)

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


def rate_at(schedule: Constant | Cosine | OneCycle | Plateau, step: int, num_steps: int) -> float:
    """Return the share of the optimiser's rate, in [0, 1], for step `step` of `num_steps`.

    Steps count from 0. A plateau's share depends on validation and is kept by `Patience`.

    Raises:
        ValueError: there is no such step; beyond its end a triangle would go below zero.
    """
    if not 0 <= step < num_steps:
        raise ValueError(f"step must be in 0..{num_steps - 1}, got {step}")
    if isinstance(schedule, Constant | Plateau):
        return 1.0
    warmup = schedule.warmup * num_steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if isinstance(schedule, Cosine):
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup)))
    return 1.0 - fall(schedule, step - warmup, num_steps - warmup)


def fall(schedule: OneCycle, since_top: float, num_steps: float) -> float:
    """Return how far a triangle has fallen, `since_top` steps after its top.

    The last of `num_steps` steps has the rate `final`, or the one that a line to zero has a step
    before its end, if that is higher: a step without any rate would be wasted.
    """
    if schedule.final * num_steps <= 1:
        return since_top / num_steps
    return (1.0 - schedule.final) * (since_top / (num_steps - 1))


class Patience:
    """Keras' counter: how long a figure (lower is better) has not improved.

    Source: `keras.callbacks.ReduceLROnPlateau` and `EarlyStopping`: an improvement is a change of
    more than `min_delta`; it acts when the wait reaches `patience`, and a plateau then waits anew.
    """

    def __init__(self, options: Plateau | EarlyStopping) -> None:
        self.patience = options.patience
        self.min_delta = options.min_delta if isinstance(options, Plateau) else 0.0
        self.best = math.inf
        self.wait = 0

    def exhausted(self, figure: float) -> bool:
        """Count one epoch; true when patience has run out, and the wait begins anew."""
        if figure < self.best - self.min_delta:
            self.best, self.wait = figure, 0
            return False
        self.wait += 1
        if self.wait < self.patience:
            return False
        self.wait = 0
        return True

    def state(self) -> dict[str, float | int | None]:
        """Return what must be saved."""
        return {"best": None if math.isinf(self.best) else self.best, "wait": self.wait}

    def load(self, state: dict[str, float | int | None]) -> None:
        """Go on from a saved state."""
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.wait = int(state["wait"] or 0)
