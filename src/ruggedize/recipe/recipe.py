"""The recipe of a whole run. Does not import torch."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from ruggedize.assess import AssessOptions, known_only
from ruggedize.core.errors import UserError
from ruggedize.core.tables import flat
from ruggedize.data import DataOptions, is_place
from ruggedize.models import TimmOptions
from ruggedize.recipe.explain import explained
from ruggedize.recipe.merge import StageName
from ruggedize.train import (
    ConsistencyOptions,
    InterpolationOptions,
    StageOptions,
    StudentOptions,
    TrainingOptions,
    names_stage,
)
from ruggedize.views import ViewOptions

UNCOMPARED = ("data.root", "data.streaming", "data.workers", "track")  # no effect on the result
TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]


def tracker_names(value: Any) -> Any:
    """Return the tracker names in a list or a string; raise ValueError if one is unknown."""
    names = [value] if isinstance(value, str) else value
    for name in names if isinstance(names, list | tuple) else ():
        if name not in get_args(TrackerName):
            known = ", ".join(get_args(TrackerName))
            raise ValueError(f"a tracker must be one of {known}, got {name!r}")
    return names


def type_of_stage(value: Any) -> str:
    """Return the name of the type that a stage's options are validated as."""
    is_between = isinstance(value, InterpolationOptions)
    is_between |= isinstance(value, Mapping) and "interpolate" in value
    return (InterpolationOptions if is_between else StageOptions).__name__


AnyStage = Annotated[
    Annotated[StageOptions, Tag("StageOptions")]
    | Annotated[InterpolationOptions, Tag("InterpolationOptions")],
    Discriminator(type_of_stage),
]


class Recipe(BaseModel):
    """The data, views, stages and assessment of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: int = Field(
        default=0, ge=0, description="seed of initial weights, data order, views and corruptions"
    )
    data: DataOptions
    views: ViewOptions = ViewOptions()
    without_teacher: bool = Field(
        default=False,
        description="do not train the stage teacher; no other stage may then learn from it",
    )
    teacher: TrainingOptions
    student: StudentOptions
    stages: dict[StageName, AnyStage] = Field(
        default={},
        description="additional stages by name, made in this order after the student: trainings, "
        "or interpolations between the start and the end of a training (interpolate = STAGE)",
    )
    assess: Annotated[AssessOptions, AfterValidator(known_only)] = AssessOptions()
    track: Annotated[tuple[TrackerName, ...], BeforeValidator(tracker_names)] = Field(
        default=(),
        description="experiment trackers that receive curves, views and the table of accuracies: "
        "a name or a list of names; no effect on the result",
    )

    @model_validator(mode="after")
    def one_geometry(self) -> "Recipe":
        """Raise ValueError if geometry is shared although the clean view has none."""
        for name, options in self.trainings.items():
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
        for name, options in self.trainings.items():
            objective = options.objective
            cached = isinstance(objective, ConsistencyOptions) and objective.cached_targets
            if cached and self.views.is_resampled:
                option = "crop_mode" if self.views.crops_originals else "resize"
                raise ValueError(
                    f"{name}.objective.cached_targets requires views that are only flipped and "
                    f"cropped, got views.{option} = {getattr(self.views, option)}; "
                    "remove one of them"
                )
        return self

    @model_validator(mode="after")
    def stages_before(self) -> "Recipe":
        """Raise ValueError if a stage learns from one that is not trained before it."""
        before: list[str] = []
        for name, options in self.all_stages.items():
            check_start(name, options.start, before)
            if isinstance(options, InterpolationOptions):
                self.check_interpolation(name, options, before)
            else:
                check_teacher(name, options, before, self.without_teacher)
            before.append(name)
        return self

    @model_validator(mode="after")
    def gains_to_compare(self) -> "Recipe":
        """Raise ValueError if a stage requires a gain that cannot be computed."""
        trainings = self.trainings
        for name, options in self.stages.items():
            if not (isinstance(options, StageOptions) and options.requires_gain):
                continue
            of_teachers = (
                trainings[each].teachers for each in options.teachers if each in trainings
            )
            if [len(each) for each in (options.teachers, *of_teachers)] != [1, 1]:
                raise ValueError(
                    f"{name}.requires_gain compares the stage in learns_from with its own teacher, "
                    "but there are not exactly these two; set learns_from, or remove requires_gain"
                )
        return self

    def check_interpolation(
        self, name: str, options: InterpolationOptions, before: list[str]
    ) -> None:
        """Raise a ValueError unless an interpolation ends in an earlier training with a start."""
        earlier = [each for each in before if each in self.trainings]
        if options.interpolate not in earlier:
            raise ValueError(
                f"{name}.interpolate must be an earlier training, got {options.interpolate}; "
                f"use one of {', '.join(earlier)}"
            )
        training = self.trainings[options.interpolate]
        is_pretrained = isinstance(training.model, TimmOptions) and training.model.pretrained
        if not (options.start or training.start or is_pretrained):
            raise ValueError(
                f"{name}.interpolate: {options.interpolate} starts from random weights, and "
                "between them and the trained ones there is no network that works; set "
                f"{name}.start, {options.interpolate}.start or pretrained weights"
            )

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
    def all_stages(self) -> dict[str, TrainingOptions | InterpolationOptions]:
        """All stages by name, in the order in which they are made."""
        first = {} if self.without_teacher else {"teacher": self.teacher}
        return {**first, "student": self.student, **self.stages}

    @property
    def trainings(self) -> dict[str, TrainingOptions]:
        """The stages that are trained, by name."""
        stages = self.all_stages.items()
        return {name: each for name, each in stages if isinstance(each, TrainingOptions)}

    def training_of(self, name: str) -> TrainingOptions:
        """Return the options that the network of a stage was trained with."""
        options = self.all_stages[name]
        is_between = isinstance(options, InterpolationOptions)
        return self.trainings[options.interpolate] if is_between else options


def check_start(name: str, start: str | None, before: list[str]) -> None:
    """Raise a ValueError if a stage starts from one that is not made before it."""
    if start is not None and names_stage(start) and start not in before:
        raise ValueError(
            f"{name}.start must be an earlier stage or a model file (a path with . or /), "
            f"got {start}; use one of {', '.join(before) or './FILE.safetensors'}"
        )


def check_teacher(
    name: str, options: TrainingOptions, before: list[str], without_teacher: bool
) -> None:
    """Raise a ValueError if a stage learns from one that is not made before it, or lacks one."""
    objective = options.objective
    sources = options.teachers if objective.uses_teacher else ()
    if without_teacher and "teacher" in sources:
        raise ValueError(
            f"{name} learns from the teacher, which without_teacher = true removes; "
            f'set {name}.objective = "supervised", or remove without_teacher'
        )
    for source in sources:
        if source not in before:
            raise ValueError(
                f"{name}.learns_from must be an earlier stage, got {source}; "
                f"use one of {', '.join(before)}"
            )
    if objective.needs_teacher and not sources:
        raise ValueError(
            f'{name}: objective = "{objective.kind}" requires a teacher; set learns_from = '
            '"STAGE", or objective = "supervised"'
        )


def recipe_toml(recipe: Recipe) -> str:
    """Return the resolved recipe as TOML, with the values of all options."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def differing_keys(ours: Recipe, theirs: Recipe) -> list[str]:
    """Return the names of options in which two recipes differ, apart from how data is read."""
    return differing(ours.model_dump(mode="json"), theirs.model_dump(mode="json"))


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the names of options in which two tables differ, apart from how data is read.

    The path of a folder is not compared, because the digest of its files identifies it. Of a suite
    only the name of the folder is compared.
    """
    left, right = flat(ours), flat(theirs)
    for table in (left, right):
        suite = str(table.get("assess.suite", ""))
        if os.path.isabs(suite):
            table["assess.suite"] = f".../{os.path.basename(suite)}"
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
    given = {name: getattr(options, name) for name in options.model_fields_set}
    table = {**given, head: changed}
    if head == "objective" and getattr(value, "uses_teacher", None) is False:
        table.pop("learns_from", None)  # of the objective before
    return table
