"""A whole run described and validated; torch is not imported here."""

from typing import Annotated, Any

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ruggedize.assess import AssessOptions, published_only
from ruggedize.core.tables import flat
from ruggedize.data import DataOptions
from ruggedize.recipe.merge import StageName
from ruggedize.train import ConsistencyOptions, StageOptions, StudentOptions, TrainingOptions
from ruggedize.views import ViewOptions

WHERE_AND_HOW = ("data.root", "data.streaming", "data.workers")  # of reading: the same images


class Recipe(BaseModel):
    """What is trained on which images, in which views, and how it is assessed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: int = Field(default=0, ge=0, description="fixes weights, order, views and corruptions")
    data: DataOptions
    views: ViewOptions = ViewOptions()
    teacher: TrainingOptions
    student: StudentOptions
    stages: dict[StageName, StageOptions] = Field(
        default={}, description="further stages by name, trained in this order after the student"
    )
    assess: Annotated[AssessOptions, AfterValidator(published_only)] = AssessOptions()

    @model_validator(mode="after")
    def one_geometry(self) -> "Recipe":
        """Raise if the noisy view shares a geometry that the teacher's view does not have."""
        for name, options in self.all_stages.items():
            objective = options.objective
            asks = isinstance(objective, ConsistencyOptions) and objective.clean_view == "test"
            if self.views.geometry == "shared" and asks:
                raise ValueError(
                    f'views.geometry = "shared" and {name}.objective.clean_view = "test" exclude '
                    "each other: the test view is neither flipped nor cropped; "
                    'set views.geometry = "independent"'
                )
        return self

    @model_validator(mode="after")
    def views_to_cache(self) -> "Recipe":
        """Raise if a teacher's logits are to be kept for views that are resampled."""
        for name, options in self.all_stages.items():
            objective = options.objective
            cached = isinstance(objective, ConsistencyOptions) and objective.cached_targets
            if cached and self.views.resize is not None:
                raise ValueError(
                    f"{name}.objective.cached_targets needs views that are only flipped and "
                    f"cropped, got views.resize = {self.views.resize}; leave one of them out"
                )
        return self

    @model_validator(mode="after")
    def stages_before(self) -> "Recipe":
        """Raise if a stage learns from one that is not trained before it."""
        before: list[str] = []
        for name, options in self.all_stages.items():
            source = options.learns_from if isinstance(options, StudentOptions) else None
            if source is not None and source not in before:
                raise ValueError(
                    f"{name} learns from {source}, which is no stage before it; "
                    f"name one of {', '.join(before)}"
                )
            objective = options.objective
            learns = isinstance(objective, ConsistencyOptions) and objective.consistency_weight > 0
            if learns and source is None:
                raise ValueError(
                    f"{name} learns by consistency and names no teacher; add learns_from = "
                    '"STAGE", or take objective = "supervised"'
                )
            before.append(name)
        return self

    @property
    def all_stages(self) -> dict[str, TrainingOptions]:
        """All stages by name, in the order in which they are trained."""
        return {"teacher": self.teacher, "student": self.student, **self.stages}


def recipe_toml(recipe: Recipe) -> str:
    """Write the resolved recipe: every option with its value."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def differing_keys(ours: Recipe, theirs: Recipe) -> list[str]:
    """Name the options in which two recipes differ; how the data is read does not count."""
    return differing(ours.model_dump(mode="json"), theirs.model_dump(mode="json"))


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Name the options in which two recipes differ that are given as tables."""
    left, right = flat(ours), flat(theirs)
    keys = sorted(left.keys() | right.keys())
    return [key for key in keys if key not in WHERE_AND_HOW and left.get(key) != right.get(key)]
