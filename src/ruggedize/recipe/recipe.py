"""The recipe of a whole run. Does not import torch."""

from collections.abc import Mapping
from typing import Annotated, Any

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ruggedize.assess import AssessOptions, known_only
from ruggedize.core.errors import UserError
from ruggedize.core.tables import flat
from ruggedize.data import DataOptions, is_place
from ruggedize.recipe.explain import explained
from ruggedize.recipe.merge import StageName
from ruggedize.train import (
    ConsistencyOptions,
    NoisyStudentOptions,
    StageOptions,
    StudentOptions,
    TrainingOptions,
)
from ruggedize.views import ViewOptions

UNCOMPARED = ("data.root", "data.streaming", "data.workers")  # they do not affect the images


class Recipe(BaseModel):
    """The data, views, stages and assessment of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: int = Field(
        default=0, ge=0, description="seed of initial weights, data order, views and corruptions"
    )
    data: DataOptions
    views: ViewOptions = ViewOptions()
    teacher: TrainingOptions
    student: StudentOptions
    stages: dict[StageName, StageOptions] = Field(
        default={}, description="additional stages by name, trained in this order after the student"
    )
    assess: Annotated[AssessOptions, AfterValidator(known_only)] = AssessOptions()

    @model_validator(mode="after")
    def one_geometry(self) -> "Recipe":
        """Raise ValueError if geometry is shared although the clean view has none."""
        for name, options in self.all_stages.items():
            objective = options.objective
            is_consistency = isinstance(objective, ConsistencyOptions)
            is_shared = self.views.geometry == "shared"
            if is_shared and is_consistency and objective.clean_view == "test":
                raise ValueError(
                    f'views.geometry = "shared" conflicts with {name}.objective.clean_view = '
                    '"test", because the test view has no random flips and crops; '
                    'set views.geometry = "independent"'
                )
        return self

    @model_validator(mode="after")
    def views_to_cache(self) -> "Recipe":
        """Raise ValueError if a teacher's logits are cached although views are resampled."""
        for name, options in self.all_stages.items():
            objective = options.objective
            cached = isinstance(objective, ConsistencyOptions) and objective.cached_targets
            if cached and self.views.resize is not None:
                raise ValueError(
                    f"{name}.objective.cached_targets requires views that are only flipped and "
                    f"cropped, got views.resize = {self.views.resize}; remove one of them"
                )
        return self

    @model_validator(mode="after")
    def stages_before(self) -> "Recipe":
        """Raise ValueError if a stage learns from one that is not trained before it."""
        before: list[str] = []
        for name, options in self.all_stages.items():
            for source in options.teachers:
                if source not in before:
                    raise ValueError(
                        f"{name}.learns_from must be an earlier stage, got {source}; "
                        f"use one of {', '.join(before)}"
                    )
            objective = options.objective
            needs_teacher = isinstance(objective, NoisyStudentOptions) or (
                isinstance(objective, ConsistencyOptions) and objective.consistency_weight > 0
            )
            if needs_teacher and not options.teachers:
                raise ValueError(
                    f'{name}: objective = "{objective.kind}" requires a teacher; set learns_from = '
                    '"STAGE", or objective = "supervised"'
                )
            before.append(name)
        return self

    @model_validator(mode="after")
    def gains_to_compare(self) -> "Recipe":
        """Raise ValueError if a stage requires a gain that cannot be computed."""
        stages = self.all_stages
        for name, options in self.stages.items():
            chain = (options.teachers, *(stages[teacher].teachers for teacher in options.teachers))
            if options.requires_gain and [len(each) for each in chain] != [1, 1]:
                raise ValueError(
                    f"{name}.requires_gain compares the stage in learns_from with its own teacher, "
                    "but there are not exactly these two; set learns_from, or remove requires_gain"
                )
        return self

    def replaced(self, changes: Mapping[str, object]) -> "Recipe":
        """Return the recipe with changed options, whose values may be objects of your own classes.

        Args:
            changes: new values by dotted name: `{"student.objective": TwoViews(weight=0.5)}`.

        Raises:
            UserError: an option is unknown, or its value is invalid.
        """
        recipe = self
        for key, value in changes.items():
            try:
                recipe = Recipe.model_validate(with_value(recipe, key.split("."), value))
            except ValidationError as error:
                raise UserError(f"recipe: {explained(error, Recipe)}") from None
        return recipe

    @property
    def all_stages(self) -> dict[str, TrainingOptions]:
        """All stages by name, in training order."""
        return {"teacher": self.teacher, "student": self.student, **self.stages}


def recipe_toml(recipe: Recipe) -> str:
    """Return the resolved recipe as TOML, with the values of all options."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def differing_keys(ours: Recipe, theirs: Recipe) -> list[str]:
    """Return the names of options in which two recipes differ, apart from how data is read."""
    return differing(ours.model_dump(mode="json"), theirs.model_dump(mode="json"))


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the names of options in which two tables differ, apart from how data is read.

    The path of a folder is not compared, because the digest of its files identifies it.
    """
    left, right = flat(ours), flat(theirs)
    keys = sorted(left.keys() | right.keys())
    names = [str(table.get("data.name")) for table in (left, right)]
    free = UNCOMPARED if not all(map(is_place, names)) else (*UNCOMPARED, "data.name")
    if left.get("data.unlabelled") and right.get("data.unlabelled"):
        free = (*free, "data.unlabelled")
    return [key for key in keys if key not in free and left.get(key) != right.get(key)]


def with_value(options: BaseModel, keys: list[str], value: object) -> dict[str, Any]:
    """Return options as a table in which the option at the path of keys has a new value."""
    head, *rest = keys
    inner = getattr(options, head, None)
    if rest and not isinstance(inner, BaseModel):
        raise UserError(
            f"recipe: {'.'.join(keys)} is not an option;\nuse the name of an existing option"
        )
    changed = with_value(inner, rest, value) if rest and isinstance(inner, BaseModel) else value
    return {**dict(options), head: changed}
