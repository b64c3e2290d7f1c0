"""What a training can be told; no torch here, so that a recipe is read in milliseconds."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ruggedize.models.options import ModelOptions

FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def kind_alone(value: Any) -> Any:
    """Let `averaging = "ema"` stand for `averaging = { kind = "ema" }`."""
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
    final: float = Field(default=0.0, ge=0, le=1, description="last rate as a share of the highest")


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

    Update t (from 0) has the decay min(decay, (1 + t) / (10 + t)).
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


class TrainingOptions(BaseModel):
    """How one network is trained; the teacher's options."""

    model_config = FROZEN
    model: ModelOptions = Field(description="architecture: a name, or a table with its width")
    epochs: int = Field(default=5, ge=1, description="passes over the training images at most")
    batch_size: int = Field(default=128, ge=2, description="images a step, over all processes")
    optimiser: Optimiser = Field(default=Adam(), description="adam, adamw or sgd, and its settings")
    schedule: Schedule = Field(
        default=Constant(), description="constant, cosine, one-cycle or plateau"
    )
    averaging: Averaging = Field(default=NoAveraging(), description="none, ema or swa")
    deliver: Literal["auto", "average", "raw"] = Field(
        default="auto",
        description="weights to deliver: the average, the raw ones, or (auto) the average unless "
        "the raw ones beat it by more than two standard errors on the validation images",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="stop early, deliver the best"
    )
    watch: Literal["loss", "accuracy"] = Field(
        default="accuracy",
        description="validation metric for plateau, early stopping and the epoch to deliver",
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share spread over all classes"
    )
    clip_norm: float | None = Field(default=None, gt=0, description="largest norm of the gradient")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto",
        description="what the network computes in; auto: bfloat16 on a GPU that has it, on a CPU "
        "the faster of bfloat16 and float32, measured once per machine",
    )
    ghost_batches: int = Field(
        default=1,
        ge=1,
        description="equal parts of a batch, over all processes, that batch norm normalises "
        "separately; with 4, one, two and four processes give the same result",
    )
    sync_batch_norm: bool = Field(
        default=False, description="batch norm over all processes' images (several GPUs only)"
    )
    channels_last: bool = Field(default=True, description="memory layout: faster on CPU and on GPU")
    compile: bool = Field(
        default=False,
        description="torch.compile (needs a C++ compiler on the CPU; untested on GPUs)",
    )

    @model_validator(mode="after")
    def an_average_to_deliver(self) -> "TrainingOptions":
        """Raise if an average is to be delivered and none is kept."""
        if self.deliver == "average" and isinstance(self.averaging, NoAveraging):
            raise ValueError(
                'deliver = "average" needs an average, and averaging = "none" keeps none; '
                'set averaging = "ema" or "swa", or deliver = "auto"'
            )
        return self

    @model_validator(mode="after")
    def parts_that_batch_norm_can_take(self) -> "TrainingOptions":
        """Refuse parts of a single image, and two answers to what batch norm sees."""
        if self.batch_size < 2 * self.ghost_batches:
            raise ValueError(
                f"ghost_batches = {self.ghost_batches} leaves a part of a batch of "
                f"{self.batch_size} fewer than two images; take {self.batch_size // 2} or less"
            )
        if self.sync_batch_norm and self.ghost_batches > 1:
            raise ValueError(
                "ghost_batches divides the batch that sync_batch_norm joins; leave one of them out"
            )
        return self


class StudentOptions(TrainingOptions):
    """How the student is trained: as a teacher is, and to agree with its teacher.

    Loss: (1 - consistency_weight) * cross entropy(labels, noisy view)
    + consistency_weight * KL(teacher(clean view) || student(noisy view)) of softened predictions.
    """

    temperature: float = Field(
        default=10.0, ge=0.01, description="softens both predictions in the KL term"
    )
    consistency_weight: float = Field(
        default=0.5, ge=0, le=1, description="share of the KL term; 0 trains without any teacher"
    )
    clean_view: Literal["drawn", "test"] = Field(
        default="drawn",
        description="what the teacher sees: flips and crops drawn anew in each epoch, or the test "
        "view, about which it is asked once and not in every step (if its answers fit in 1 GB)",
    )
    temperature_squared: bool = Field(
        default=False,
        description="multiply the KL term by T^2 (Hinton et al. 2015), so that it pulls",
    )
    allow_smaller_student: bool = Field(
        default=False, description="permit a student with fewer parameters than its teacher"
    )

    @model_validator(mode="after")
    def some_target(self) -> "StudentOptions":
        """Refuse options of the KL term or the labels where there are none."""
        if self.consistency_weight == 0 and self.temperature_squared:
            raise ValueError(
                "temperature_squared does nothing with consistency_weight = 0; leave it out"
            )
        if self.consistency_weight == 0 and self.clean_view == "test":
            raise ValueError(
                'clean_view = "test" does nothing with consistency_weight = 0, where there is no '
                "teacher; leave it out"
            )
        if self.consistency_weight == 1 and self.label_smoothing:
            raise ValueError(
                "label_smoothing does nothing with consistency_weight = 1, which leaves the labels "
                "out; set it to 0"
            )
        return self
