"""Training options. Torch is not imported, so that reading a recipe takes milliseconds."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ruggedize.models import ModelOptions, TimmOptions
from ruggedize.train.objectives.options import (
    KINDS,
    ConsistencyOptions,
    MeanTeacherOptions,
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

OBJECTIVES = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"


STAGE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")


def names_stage(start: str) -> bool:
    """Return whether a `start` names a stage; else it is the path of a model file."""
    return STAGE_NAME.fullmatch(start) is not None


class TrainingOptions(BaseModel):
    """How a network is trained; the options of the teacher."""

    model_config = FROZEN
    model: ModelOptions = Field(description="architecture: its name, or a table with its options")
    objective: ObjectiveOptions = Field(
        default=SupervisedOptions(),
        description=f"{OBJECTIVES}, and its options",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none",
        description="weights of the classes in the cross entropy; balanced: n / (k n_c) for n "
        "labelled training images of k classes, n_c of them of class c, so that all classes count "
        "equally",
    )
    views: Literal["clean", "noisy"] | None = Field(
        default=None, description="view that the supervised objective trains on; default: clean"
    )
    start: str | None = Field(
        default=None,
        description="weights to start from, instead of random ones: an earlier stage, or a model "
        "file (a path with . or /); the head is replaced if the classes differ",
    )
    epochs: int = Field(
        default=5, ge=1, description="maximum number of passes over the training images"
    )
    probe_epochs: int = Field(
        default=0,
        ge=0,
        description="linear probe: number of initial epochs that train only the last layer, "
        "at a constant learning rate; they count as epochs, and the schedule covers the remaining "
        "ones",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="layer-wise decay: every layer has this factor times the learning rate of the "
        "next layer; the last layer has the optimiser's",
    )
    batch_size: int = Field(
        default=128, ge=2, description="labelled images per step, over all processes"
    )
    steps_per_epoch: int | None = Field(
        default=None,
        ge=1,
        description="steps per epoch, for few labels and many unlabelled images: the labelled "
        "images are repeated as often as needed; default: one pass over the labelled images",
    )
    optimiser: Optimiser = Field(default=Adam(), description="adam, adamw or sgd, and its options")
    schedule: Schedule = Field(
        default=Constant(), description="constant, cosine, one-cycle or plateau"
    )
    averaging: Averaging = Field(default=NoAveraging(), description="none, ema or swa")
    deliver: Literal["auto", "average", "raw"] = Field(
        default="auto",
        description="weights to deliver: the average, the raw weights, or (auto) the average "
        "unless the raw weights are clearly better in validation",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None,
        description="stop when validation stops improving; if raw weights are delivered, deliver "
        "those of the best epoch",
    )
    watch: Literal["loss", "accuracy"] = Field(
        default="accuracy",
        description="validation metric for plateau, early stopping and the choice of epoch",
    )
    clip_norm: float | None = Field(default=None, gt=0, description="maximum gradient norm")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto",
        description="numeric precision; auto: bfloat16 on a GPU that supports it; on a CPU the "
        "faster of bfloat16 and float32, measured once per machine",
    )
    ghost_batches: int = Field(
        default=1,
        ge=1,
        description="number of equal groups that batch norm normalises separately, over all "
        "processes; with 4 groups, 1, 2 and 4 processes give the same result",
    )
    microbatches: int = Field(
        default=1,
        ge=1,
        description="number of micro-batches that a step is split into, to save memory; with batch "
        "norm it must divide ghost_batches, so that the result does not change",
    )
    sync_batch_norm: bool = Field(
        default=False, description="batch norm over the images of all processes (several GPUs only)"
    )
    channels_last: bool = Field(default=True, description="channels-last memory layout (faster)")
    save_seconds: float = Field(
        default=0.0,
        ge=0,
        description="minimum time between the states saved at the end of an epoch; 0: save after "
        "every epoch. A killed run loses the work since its last saved state",
    )
    compile: bool = Field(
        default=False,
        description="use torch.compile (needs a C++ compiler on a CPU)",
    )

    @property
    def teachers(self) -> tuple[str, ...]:
        """The stages whose models are the teachers."""
        return ()

    @model_validator(mode="after")
    def check_average(self) -> "TrainingOptions":
        """Reject `deliver = "average"` without averaging."""
        if self.deliver == "average" and isinstance(self.averaging, NoAveraging):
            raise ValueError(
                'deliver = "average" needs averaging, got averaging = "none"; '
                'set averaging = "ema" or "swa", or deliver = "auto"'
            )
        return self

    @model_validator(mode="after")
    def check_start(self) -> "TrainingOptions":
        """Reject two sources of initial weights."""
        if self.start is not None and isinstance(self.model, TimmOptions) and self.model.pretrained:
            raise ValueError(
                f"start = {self.start!r} would replace the pretrained weights; "
                "set model.pretrained = false, or remove start"
            )
        return self

    @model_validator(mode="after")
    def check_probe(self) -> "TrainingOptions":
        """Reject a linear probe that leaves no epoch for the other layers."""
        if self.probe_epochs >= self.epochs:
            raise ValueError(
                f"probe_epochs must be less than epochs = {self.epochs}, got {self.probe_epochs}; "
                "lower it, or raise epochs"
            )
        return self

    @field_validator("objective", mode="before")
    @classmethod
    def default_kind(cls, value: Any) -> Any:
        """Read a table without a kind as options of the stage's default objective."""
        if isinstance(value, dict) and "kind" not in value:
            return {"kind": cls.model_fields["objective"].default.kind} | value
        return value

    @model_validator(mode="after")
    def check_views(self) -> "TrainingOptions":
        """Reject `views` for an objective that makes its own views."""
        if self.views is not None and not self.objective.has_views:
            raise ValueError(
                f"views applies to the supervised objective only, but the objective is "
                f"{self.objective.kind}; remove views"
            )
        return self

    @model_validator(mode="after")
    def check_class_weights(self) -> "TrainingOptions":
        """Reject class weights for a loss without a cross entropy."""
        losses = (ConsistencyOptions, MeanTeacherOptions)
        has_no_labels = (
            isinstance(self.objective, losses) and self.objective.consistency_weight == 1
        )
        if self.class_weights != "none" and has_no_labels:
            raise ValueError("class_weights has no effect with consistency_weight = 1; remove it")
        return self

    @model_validator(mode="after")
    def check_microbatches(self) -> "TrainingOptions":
        """Reject micro-batches that would split a batch that batch norm normalises."""
        if self.sync_batch_norm and self.microbatches > 1:
            raise ValueError(
                "microbatches > 1 cannot be combined with sync_batch_norm; remove one of them"
            )
        if self.ghost_batches > 1 and self.ghost_batches % self.microbatches:
            raise ValueError(
                f"microbatches = {self.microbatches} does not divide ghost_batches = "
                f"{self.ghost_batches}; set it to a divisor"
            )
        return self

    @model_validator(mode="after")
    def check_ghost_batches(self) -> "TrainingOptions":
        """Reject ghost batches of fewer than two images, or with synchronised batch norm."""
        if self.batch_size < 2 * self.ghost_batches:
            raise ValueError(
                f"ghost_batches must be at most {self.batch_size // 2} (two images each of a batch "
                f"of {self.batch_size}), got {self.ghost_batches}; lower it or raise batch_size"
            )
        if self.sync_batch_norm and self.ghost_batches > 1:
            raise ValueError(
                "ghost_batches > 1 cannot be combined with sync_batch_norm; remove one of them"
            )
        return self


def usual_teacher(options: dict[str, Any]) -> str | None:
    """Return the stage that a student learns from by default, given its other options."""
    objective = options.get("objective")  # missing where it is invalid
    return "teacher" if objective is None or objective.uses_teacher else None


class StudentOptions(TrainingOptions):
    """How the student is trained: the options of a teacher, and the teacher that it learns from."""

    objective: ObjectiveOptions = Field(
        default=ConsistencyOptions(),
        description=f"{OBJECTIVES}, and its options",
    )
    learns_from: str | tuple[str, ...] | None = Field(
        default_factory=usual_teacher,
        json_schema_extra={"default": "teacher"},
        description="stage whose model is the teacher, or a list of stages, whose probabilities "
        "are averaged; default: teacher, or none if the objective has no teacher",
    )
    allow_smaller_student: bool = Field(
        default=False, description="allow a student with fewer parameters than its teacher"
    )

    @property
    def teachers(self) -> tuple[str, ...]:
        """The stages whose models are the teachers."""
        if self.learns_from is None:
            return ()
        return (self.learns_from,) if isinstance(self.learns_from, str) else self.learns_from

    @model_validator(mode="after")
    def check_teacher(self) -> "StudentOptions":
        """Reject a teacher for an objective that has none."""
        if self.learns_from is not None and not self.objective.uses_teacher:
            raise ValueError(
                f"learns_from = {self.learns_from!r} has no effect, because the objective "
                f"{self.objective.kind} has no teacher; remove learns_from"
            )
        return self


class StageOptions(StudentOptions):
    """An additional stage of a run, such as another generation or a control without a teacher."""

    learns_from: str | tuple[str, ...] | None = Field(
        default=None,
        description="stage whose model is the teacher, or a list of stages, whose probabilities "
        "are averaged; default: no teacher",
    )
    requires_gain: bool = Field(
        default=False,
        description="skip this stage unless the validation accuracy of its teacher is above that "
        "of the teacher's own teacher",
    )
