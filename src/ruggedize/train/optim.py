"""Options of optimisers, learning rate schedules and weight averaging, and their arithmetic.

Torch is imported only where an optimiser is built, so that reading a recipe takes milliseconds.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    import torch
    from torch import nn

FACTOR = "lr_factor"  # key in a parameter group
FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def table_from_kind(value: Any) -> Any:
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
    epsilon: float = Field(
        default=1e-7, gt=0, description="added to the square root of the second moment"
    )


class AdamW(BaseModel):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    model_config = FROZEN
    kind: Literal["adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean gradient")
    beta2: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the mean squared gradient"
    )
    epsilon: float = Field(
        default=1e-8, gt=0, description="added to the square root of the second moment"
    )
    weight_decay: float = Field(
        default=0.01,
        ge=0,
        description="weight decay, multiplied by lr; not applied to biases and norms",
    )


class Sgd(BaseModel):
    """Stochastic gradient descent with Nesterov momentum."""

    model_config = FROZEN
    kind: Literal["sgd"] = "sgd"
    lr: float = Field(default=0.1, gt=0, description="highest learning rate")
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Nesterov momentum; 0 turns it off"
    )
    weight_decay: float = Field(
        default=5e-4, ge=0, description="L2 penalty; not applied to biases and norms"
    )
    bias_lr_factor: float = Field(
        default=1.0, gt=0, description="factor on lr for biases and norms"
    )


class Constant(BaseModel):
    """Constant learning rate."""

    model_config = FROZEN
    kind: Literal["constant"] = "constant"


class Cosine(BaseModel):
    """Linear warm-up, then cosine decay to zero, updated every step."""

    model_config = FROZEN
    kind: Literal["cosine"] = "cosine"
    warmup: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the steps that the warm-up takes"
    )


class OneCycle(BaseModel):
    """Linear warm-up to the optimiser's learning rate, then linear decay to `final` times it."""

    model_config = FROZEN
    kind: Literal["one-cycle"] = "one-cycle"
    warmup: float = Field(
        default=0.25, gt=0, lt=1, description="fraction of the steps that the warm-up takes"
    )
    final: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="learning rate of the last step as a fraction of the highest; never exactly 0",
    )


class Plateau(BaseModel):
    """Lower the learning rate when the validation metric stops improving, as Keras does.

    Deviation from torch: the rate is lowered when the wait *reaches* patience, and `min_delta` is
    absolute (`keras.callbacks.ReduceLROnPlateau`).
    """

    model_config = FROZEN
    kind: Literal["plateau"] = "plateau"
    patience: int = Field(default=3, ge=1, description="epochs without improvement before lowering")
    factor: float = Field(default=0.1, gt=0, lt=1, description="factor on the learning rate")
    min_delta: float = Field(
        default=1e-4, ge=0, description="smallest change that counts as an improvement"
    )


class NoAveraging(BaseModel):
    """No weight averaging."""

    model_config = FROZEN
    kind: Literal["none"] = "none"


class Ema(BaseModel):
    """Exponential moving average of the weights, updated every step.

    The first update copies the weights; update t + 1 uses decay min(decay, (1 + t) / (10 + t)).
    """

    model_config = FROZEN
    kind: Literal["ema"] = "ema"
    decay: float = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="decay of the average; its warm-up takes 9 decay / (1 - decay) steps",
    )
    start: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the steps before averaging starts"
    )


class Swa(BaseModel):
    """Stochastic weight averaging (Izmailov et al. 2018): the unweighted mean of snapshots."""

    model_config = FROZEN
    kind: Literal["swa"] = "swa"
    start: float = Field(
        default=0.75, ge=0, lt=1, description="fraction of the steps before averaging starts"
    )
    every: int = Field(default=10, ge=1, description="steps between two snapshots")


class EarlyStopping(BaseModel):
    """Stop when validation has not improved for `patience` epochs.

    If the stage has no average, or delivers raw weights, those of the best epoch are delivered
    instead of the last one's.
    """

    model_config = FROZEN
    patience: int = Field(
        default=10, ge=1, description="epochs without improvement before stopping"
    )


Optimiser = Annotated[
    Annotated[Adam | AdamW | Sgd, Field(discriminator="kind")], BeforeValidator(table_from_kind)
]
Schedule = Annotated[
    Annotated[Constant | Cosine | OneCycle | Plateau, Field(discriminator="kind")],
    BeforeValidator(table_from_kind),
]
Averaging = Annotated[
    Annotated[NoAveraging | Ema | Swa, Field(discriminator="kind")],
    BeforeValidator(table_from_kind),
]


def optimiser_for(
    model: "nn.Module",
    options: Adam | AdamW | Sgd,
    layer_decay: float = 1.0,
    *,
    has_probe: bool = False,
) -> "torch.optim.Optimizer":
    """Build the optimiser; biases and norms (one-dimensional) get no weight decay."""
    import torch

    from ruggedize.train.fine_tuning.groups import parameter_groups

    groups = parameter_groups(model, options, layer_decay, has_probe=has_probe)
    if isinstance(options, Adam | AdamW):
        kind = torch.optim.Adam if isinstance(options, Adam) else torch.optim.AdamW
        betas = (options.beta1, options.beta2)
        return kind(groups, options.lr, betas, options.epsilon, fused=True)
    nesterov = options.momentum > 0
    return torch.optim.SGD(
        groups, options.lr, momentum=options.momentum, nesterov=nesterov, fused=True
    )


def set_rate(optimiser: "torch.optim.Optimizer", lr: float) -> None:
    """Set the learning rate of every parameter group to `lr` times the group's factor, if any."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get(FACTOR, 1.0)


def rate_at(schedule: Constant | Cosine | OneCycle | Plateau, step: int, num_steps: int) -> float:
    """Return the factor on the optimiser's learning rate, in [0, 1], at step `step` (from 0).

    `Plateau` returns 1: its factor depends on validation and is tracked by `Patience`.

    Raises:
        ValueError: `step` is not in 0..num_steps - 1.
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
    return 1.0 - one_cycle_decay(schedule, step - warmup, num_steps - warmup)


def one_cycle_decay(schedule: OneCycle, steps_since_peak: float, num_steps: float) -> float:
    """Return the fraction by which the learning rate has decayed since its peak.

    The last of `num_steps` steps has the factor max(final, 1 / num_steps): with a factor of 0 it
    would have no effect.
    """
    if schedule.final * num_steps <= 1:
        return steps_since_peak / num_steps
    return (1.0 - schedule.final) * (steps_since_peak / (num_steps - 1))


class Patience:
    """Counter of epochs without improvement of a metric (lower is better).

    Source: `keras.callbacks.ReduceLROnPlateau` and `EarlyStopping`: a change of more than
    `min_delta` is an improvement; when the count reaches `patience`, it restarts from 0.
    """

    def __init__(self, options: Plateau | EarlyStopping) -> None:
        self.patience = options.patience
        self.min_delta = options.min_delta if isinstance(options, Plateau) else 0.0
        self.best = math.inf
        self.wait = 0

    def exhausted(self, metric: float) -> bool:
        """Count one epoch; return True and restart the count when it reaches `patience`."""
        if metric < self.best - self.min_delta:
            self.best, self.wait = metric, 0
            return False
        self.wait += 1
        if self.wait < self.patience:
            return False
        self.wait = 0
        return True

    def state(self) -> dict[str, float | int | None]:
        """Return the state to save."""
        return {"best": None if math.isinf(self.best) else self.best, "wait": self.wait}

    def load(self, state: dict[str, float | int | None]) -> None:
        """Restore a saved state."""
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.wait = int(state["wait"] or 0)
