"""Optimiser, learning rate, averaging and early stopping as a recipe gives them. No torch."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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
