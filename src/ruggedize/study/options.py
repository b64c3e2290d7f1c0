"""The content of a study file. Does not import torch."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
ArmName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}$")]


class Budget(BaseModel):
    """Arithmetic of all trainings of a run, in one of two units.

    A training step counts as three forward passes per view that the network is trained on, a view
    that only a teacher sees as one. Validation and assessment are not counted.
    """

    model_config = FROZEN
    forward_epochs: float | None = Field(
        default=None,
        gt=0,
        description="forward passes per training image, in passes of the last stage's network",
    )
    pflop: float | None = Field(
        default=None,
        gt=0,
        description="10^15 floating-point operations; an addition counts as one",
    )

    @model_validator(mode="after")
    def one_unit(self) -> "Budget":
        """Raise ValueError unless exactly one unit is set."""
        if (self.forward_epochs is None) == (self.pflop is None):
            raise ValueError(
                f"budget must set forward_epochs or pflop, got {self.model_dump()}; "
                "for example budget = { pflop = 0.4 }"
            )
        return self

    def __str__(self) -> str:
        if self.pflop is not None:
            return f"{self.pflop:g} PFLOP"
        return f"{self.forward_epochs:g} forward-epochs"


def distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    """Raise ValueError if a seed occurs twice."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be distinct, got {list(seeds)}; remove the repeated ones")
    return seeds


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), AfterValidator(distinct)
]


class StudyOptions(BaseModel):
    """Recipes to compare, their seeds and their budget."""

    model_config = FROZEN
    base: str = Field(description="recipe that all arms change: a shipped one, or a file")
    seeds: Seeds = Field(description="seeds of the runs of every arm; an arm may set its own")
    budget: Budget | None = Field(
        default=None,
        description="arithmetic of every run; it determines the epochs of the last stage. An arm "
        "may set its own. Default: the epochs of the recipe",
    )
    baseline: str | None = Field(
        default=None, description="arm that differences refer to; default: the first"
    )
    results: str | None = Field(
        default=None,
        description="folder for the summaries of finished runs, relative to the study file; "
        "default: the folder results of the study's folder",
    )
    recipe: dict[str, Any] = Field(default={}, description="options of the recipe for all arms")
    arms: dict[ArmName, dict[str, Any]] = Field(
        min_length=1, description="options of the recipe that differ, by arm"
    )

    @model_validator(mode="after")
    def known_baseline(self) -> "StudyOptions":
        """Raise ValueError if no arm has the baseline's name."""
        if self.baseline is not None and self.baseline not in self.arms:
            raise ValueError(
                f"baseline must be the name of an arm, got {self.baseline}; "
                f"the arms are {', '.join(self.arms)}"
            )
        return self
