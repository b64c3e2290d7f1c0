"""What a training can be told; no torch here, so that a recipe is read in milliseconds."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ruggedize.models import ModelOptions
from ruggedize.train.objectives.options import (
    ConsistencyOptions,
    ObjectiveOptions,
    SupervisedOptions,
)
from ruggedize.train.optim import (
    Adam,
    Averaging,
    Constant,
    EarlyStopping,
    NoAveraging,
    Optimiser,
    Schedule,
)

FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainingOptions(BaseModel):
    """How one network is trained; the options of the teacher."""

    model_config = FROZEN
    model: ModelOptions = Field(description="architecture: a name, or a table with its width")
    objective: ObjectiveOptions = Field(
        default=SupervisedOptions(),
        description="supervised, consistency, jsd or mean-teacher, and its settings",
    )
    views: Literal["clean", "noisy"] | None = Field(
        default=None, description="which view the supervised objective sees; none: clean"
    )
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
    microbatches: int = Field(
        default=1,
        ge=1,
        description="parts of a step that are computed one after the other, to save memory; with "
        "batch norm a divisor of ghost_batches, so that the result stays the same",
    )
    sync_batch_norm: bool = Field(
        default=False, description="batch norm over all processes' images (several GPUs only)"
    )
    channels_last: bool = Field(default=True, description="memory layout: faster on CPU and on GPU")
    save_seconds: float = Field(
        default=0.0,
        ge=0,
        description="least time between the states saved at the end of an epoch; 0: after each. "
        "Where an epoch takes a second, saving takes as long; a kill loses so much work at most",
    )
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

    @field_validator("objective", mode="before")
    @classmethod
    def usual_kind(cls, value: Any) -> Any:
        """Read a table without a kind as options of the stage's usual objective."""
        if isinstance(value, dict) and "kind" not in value:
            return {"kind": cls.model_fields["objective"].default.kind} | value
        return value

    @model_validator(mode="after")
    def check_views(self) -> "TrainingOptions":
        """Raise if an objective is told which view to see and makes its own."""
        if self.views is not None and self.objective.kind not in ("supervised", "custom"):
            raise ValueError(
                f"views says what the supervised objective sees, and {self.objective.kind} makes "
                "its own views; leave it out"
            )
        return self

    @model_validator(mode="after")
    def check_microbatches(self) -> "TrainingOptions":
        """Raise if micro-batches would divide what batch norm is to see as a whole."""
        if self.sync_batch_norm and self.microbatches > 1:
            raise ValueError(
                "microbatches divides the batch that sync_batch_norm joins; leave one of them out"
            )
        if self.ghost_batches > 1 and self.ghost_batches % self.microbatches:
            raise ValueError(
                f"microbatches = {self.microbatches} does not divide ghost_batches = "
                f"{self.ghost_batches}; take a divisor of it"
            )
        return self

    @model_validator(mode="after")
    def parts_that_batch_norm_can_take(self) -> "TrainingOptions":
        """Reject parts of a single image, and two answers to what batch norm sees."""
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
    """How the student is trained: as a teacher is, and to agree with its teacher."""

    objective: ObjectiveOptions = Field(
        default=ConsistencyOptions(),
        description="consistency, supervised, jsd or mean-teacher, and its settings",
    )
    learns_from: str | None = Field(
        default="teacher", description="the stage whose model is the teacher of the objective"
    )
    allow_smaller_student: bool = Field(
        default=False, description="permit a student with fewer parameters than its teacher"
    )


class StageOptions(StudentOptions):
    """A further stage of a run, such as a next generation or a control without a teacher."""

    learns_from: str | None = Field(
        default=None, description="the stage whose model is the teacher; none: no teacher"
    )
