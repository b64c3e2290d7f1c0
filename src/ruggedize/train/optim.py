"""Optimisers, schedules and averages as a recipe gives them, and what they compute.

Torch is imported where an optimiser is built: reading a recipe takes milliseconds.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    import torch
    from torch import nn

FACTOR = "lr_factor"  # of a parameter group
FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def kind_alone(value: Any) -> Any:
    """Read `averaging = "ema"` as `averaging = { kind = "ema" }`."""
    return {"kind": value} if isinstance(value, str) else value


class Adam(BaseModel):
    """Adam (Kingma & Ba 2015) with Keras' epsilon."""

    model_config = FROZEN
    kind: Literal["adam"] = "adam"
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean gradient")
    beta2: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the mean squared gradient"
    )
    epsilon: float = Field(default=1e-7, gt=0, description="added to the root of the second moment")


class AdamW(BaseModel):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    model_config = FROZEN
    kind: Literal["adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean gradient")
    beta2: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the mean squared gradient"
    )
    epsilon: float = Field(default=1e-8, gt=0, description="added to the root of the second moment")
    weight_decay: float = Field(
        default=0.01, ge=0, description="times lr; matrices and kernels only"
    )


class Sgd(BaseModel):
    """Stochastic gradient descent with Nesterov momentum."""

    model_config = FROZEN
    kind: Literal["sgd"] = "sgd"
    lr: float = Field(default=0.1, gt=0, description="highest learning rate")
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Nesterov momentum; 0 turns it off"
    )
    weight_decay: float = Field(default=5e-4, ge=0, description="L2; matrices and kernels only")
    bias_lr_factor: float = Field(
        default=1.0, gt=0, description="times lr, for biases and batch-norm weights"
    )


class Constant(BaseModel):
    """The same learning rate throughout."""

    model_config = FROZEN
    kind: Literal["constant"] = "constant"


class Cosine(BaseModel):
    """Linear warm-up, then half a cosine down to zero, step by step."""

    model_config = FROZEN
    kind: Literal["cosine"] = "cosine"
    warmup: float = Field(default=0.0, ge=0, lt=1, description="share of the steps spent rising")


class OneCycle(BaseModel):
    """A triangle: linearly up to the optimiser's rate, linearly down to `final` of it."""

    model_config = FROZEN
    kind: Literal["one-cycle"] = "one-cycle"
    warmup: float = Field(default=0.25, gt=0, lt=1, description="share of the steps spent rising")
    final: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="last rate as a share of the highest, at least that of one step before zero",
    )


class Plateau(BaseModel):
    """Lower the rate when validation stops improving, with Keras' counting.

    Deviation from torch: acts when the wait *reaches* patience, and compares with an absolute
    `min_delta` (`keras.callbacks.ReduceLROnPlateau`).
    """

    model_config = FROZEN
    kind: Literal["plateau"] = "plateau"
    patience: int = Field(default=3, ge=1, description="epochs without improvement before it acts")
    factor: float = Field(default=0.1, gt=0, lt=1, description="the rate is multiplied by this")
    min_delta: float = Field(
        default=1e-4, ge=0, description="smallest change that is an improvement"
    )


class NoAveraging(BaseModel):
    """No average is kept."""

    model_config = FROZEN
    kind: Literal["none"] = "none"


class Ema(BaseModel):
    """Exponential moving average of the weights, every step.

    The first update copies the weights; update t + 1 has the decay min(decay, (1 + t) / (10 + t)).
    """

    model_config = FROZEN
    kind: Literal["ema"] = "ema"
    decay: float = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="weight of the past in each step, reached after 9 decay / (1 - decay) steps",
    )
    start: float = Field(default=0.0, ge=0, lt=1, description="share of the steps before it starts")


class Swa(BaseModel):
    """Stochastic weight averaging (Izmailov et al. 2018): the plain mean of snapshots."""

    model_config = FROZEN
    kind: Literal["swa"] = "swa"
    start: float = Field(
        default=0.75, ge=0, lt=1, description="share of the steps before it starts"
    )
    every: int = Field(default=10, ge=1, description="steps between two snapshots")


class EarlyStopping(BaseModel):
    """Stop when validation has not improved for `patience` epochs; deliver the best epoch."""

    model_config = FROZEN
    patience: int = Field(
        default=10, ge=1, description="epochs without improvement before stopping"
    )


Optimiser = Annotated[
    Annotated[Adam | AdamW | Sgd, Field(discriminator="kind")], BeforeValidator(kind_alone)
]
Schedule = Annotated[
    Annotated[Constant | Cosine | OneCycle | Plateau, Field(discriminator="kind")],
    BeforeValidator(kind_alone),
]
Averaging = Annotated[
    Annotated[NoAveraging | Ema | Swa, Field(discriminator="kind")], BeforeValidator(kind_alone)
]


def optimiser_for(model: "nn.Module", options: Adam | AdamW | Sgd) -> "torch.optim.Optimizer":
    """Build the optimiser; biases and batch-norm weights (one-dimensional) are never decayed."""
    import torch

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


def set_rate(optimiser: "torch.optim.Optimizer", lr: float) -> None:
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
    """Keras' counter: how long a metric (lower is better) has not improved.

    Source: `keras.callbacks.ReduceLROnPlateau` and `EarlyStopping`: an improvement is a change of
    more than `min_delta`; it acts when the wait reaches `patience`, and a plateau then waits anew.
    """

    def __init__(self, options: Plateau | EarlyStopping) -> None:
        self.patience = options.patience
        self.min_delta = options.min_delta if isinstance(options, Plateau) else 0.0
        self.best = math.inf
        self.wait = 0

    def exhausted(self, metric: float) -> bool:
        """Count one epoch; true when patience has run out, and the wait begins anew."""
        if metric < self.best - self.min_delta:
            self.best, self.wait = metric, 0
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
