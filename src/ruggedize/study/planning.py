"""The runs of a study, with the epochs that its budget pays for."""

from dataclasses import dataclass
from pathlib import Path

from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions, load_splits
from ruggedize.recipe import Recipe
from ruggedize.study.arithmetic import TrainingImages, Work, epochs_within, work_of
from ruggedize.study.options import Budget
from ruggedize.study.reading import Study


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a study: an arm with a seed."""

    arm: str
    seed: int
    recipe: Recipe
    budget: Budget | None
    work: dict[str, Work]  # arithmetic by stage

    @property
    def name(self) -> str:
        """Return the name of the run's folder."""
        return f"{self.arm}-seed{self.seed}"

    @property
    def pflop(self) -> float:
        """Return the planned arithmetic of all stages."""
        stages = self.recipe.trainings
        return sum(self.work[name].after(options.epochs) for name, options in stages.items())

    def folder(self, out: Path) -> Path:
        """Return the run folder below the study's folder."""
        return out / self.name


def plan(study: Study, changes: tuple[str, ...] = ()) -> list[PlannedRun]:
    """List the runs of a study in their order.

    Args:
        study: the study.
        changes: changes to all recipes, of the form `section.key=value`.

    Raises:
        UserError: the data is missing, or a budget leaves no epoch.
    """
    known: dict[str, TrainingImages] = {}
    runs = []
    for arm, seed in study.runs:
        recipe = study.recipe(arm, seed, changes)
        images = images_of(recipe.data, known)
        budget = study.budgets[arm]
        if budget is not None:
            recipe = within_budget(arm, recipe, images, budget)
        work = work_of(recipe, images)
        runs.append(PlannedRun(arm=arm, seed=seed, recipe=recipe, budget=budget, work=work))
    return runs


def images_of(options: DataOptions, known: dict[str, TrainingImages]) -> TrainingImages:
    """Return the counts and sizes of the training images, loading equal data only once."""
    key = options.model_dump_json()
    if key not in known:
        known[key] = TrainingImages.of(load_splits(options))
    return known[key]


def within_budget(arm: str, recipe: Recipe, images: TrainingImages, budget: Budget) -> Recipe:
    """Return the recipe with the epochs of its last stage that the budget pays for."""
    last, options = list(recipe.trainings.items())[-1]
    try:
        epochs = epochs_within(budget, recipe, images)
    except UserError as error:
        raise UserError(f"arm {arm}: {error}") from None
    changed = options.model_copy(update={"epochs": epochs})
    if last == "student":
        return recipe.model_copy(update={"student": changed})
    return recipe.model_copy(update={"stages": {**recipe.stages, last: changed}})
