"""Schemas of the files of a run that a report reads.

Only entries that the report uses are listed; others may have any value.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from ruggedize.core.errors import UserError, shown

LOOSE = ConfigDict(extra="allow", allow_inf_nan=False)
Number = float | None
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Epoch = Count


class Objective(BaseModel):
    """An objective of a stage."""

    model_config = LOOSE
    kind: str | None = None


class Stage(BaseModel):
    """A stage of a recipe."""

    model_config = LOOSE
    objective: Objective = Objective()
    views: str | None = None
    learns_from: str | list[str] | None = None
    interpolate: str | None = None


class Recipe(BaseModel):
    """A recipe."""

    model_config = LOOSE
    seed: int | None = None
    teacher: Stage | None = None
    student: Stage | None = None
    stages: dict[str, Stage] = {}


class Environment(BaseModel):
    """`environment.json`."""

    model_config = LOOSE
    packages: dict[str, str | None] = {}


class Score(BaseModel):
    """Loss and accuracy on the validation images."""

    model_config = LOOSE
    loss: float
    accuracy: float


class Accuracy(BaseModel):
    """Accuracy on the validation images; loss is not shown."""

    model_config = LOOSE
    accuracy: float


class Validation(BaseModel):
    """The scores of an epoch's raw weights and of their average."""

    model_config = LOOSE
    raw: Score | None
    averaged: Score | None


class Row(BaseModel):
    """One row of `metrics.jsonl`."""

    model_config = LOOSE
    epoch: Epoch
    validation: Validation
    loss: Number = None
    cross_entropy: Number = None
    consistency: Number = None
    accuracy: Number = None
    agreement: Number = None
    student_entropy: Number = None
    teacher_entropy: Number = None
    confident: Number = None
    pseudo_label_accuracy: Number = None
    pseudo_label_entropy: Number = None
    unlabelled_entropy: Number = None
    unlabelled_agreement: Number = None


class Difference(BaseModel):
    """The paired difference of raw weights and average."""

    model_config = LOOSE
    metric: str
    raw_minus_average: float
    standard_error: Number
    num_images: int


class EpochScores(BaseModel):
    """The scores of the delivered epoch."""

    model_config = LOOSE
    raw: Score
    averaged: Score | None
    difference: Difference | None = None

    @model_validator(mode="after")
    def compared(self) -> "EpochScores":
        """Raise a ValueError if an average is not compared with the raw weights."""
        if self.averaged and not self.difference:
            raise ValueError("averaged needs a difference")
        return self


class DigestedData(BaseModel):
    """What identifies the data of a training."""

    model_config = LOOSE
    parts: dict[str, Any] = {}


class Start(BaseModel):
    """Where the initial weights of a training are from."""

    model_config = LOOSE
    source: str
    sha256: str
    license: str | None = None
    head: str = "kept"


class Training(BaseModel):
    """The facts of a training."""

    model_config = LOOSE
    start: Start | None = None
    parents: dict[str, Any] = {}
    images: dict[str, Count | None] = {}
    data: DigestedData | None = None


class Skipped(BaseModel):
    """`skipped.json`."""

    model_config = LOOSE
    reason: str


class Delivered(BaseModel):
    """`delivered.json`."""

    model_config = LOOSE
    weights: str
    epoch: Epoch | None = None  # required unless the weights are interpolated
    alpha: Share | None = None
    validation: Accuracy
    num_candidates: int | None = None
    at_epoch: EpochScores | None = None
    training: Training = Training()

    @model_validator(mode="after")
    def of_an_epoch(self) -> "Delivered":
        """Raise a ValueError if neither an epoch nor an alpha is recorded."""
        if self.epoch is None and self.alpha is None:
            raise ValueError("epoch is missing")
        return self


class Point(BaseModel):
    """Accuracy of the weights at one alpha, on clean and on corrupted validation images."""

    model_config = LOOSE
    alpha: Share
    clean: Share
    corrupted: Share


class Curve(BaseModel):
    """`interpolation.json`."""

    model_config = LOOSE
    points: list[Point] = []


class Rows(RootModel[list[Row]]):
    """`metrics.jsonl`."""


def check_shape(path: Path, content: Any, shape: type[BaseModel]) -> None:
    """Raise UserError if the content of a file does not match its schema."""
    try:
        shape.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = shown(".".join(map(str, fault["loc"]))) or "its content"
        raise UserError(
            f"{shown(path)} is damaged at {place[:200]}: {shown(fault['msg'])};\n"
            "restore it, or delete it"
        ) from None
