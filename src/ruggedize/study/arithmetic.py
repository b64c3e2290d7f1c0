"""The floating-point operations of trainings, and the epochs that a budget pays for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ruggedize.core.errors import UserError
from ruggedize.data import Splits
from ruggedize.models import forward_flop
from ruggedize.recipe import Recipe, teachers_in
from ruggedize.study.options import Budget
from ruggedize.train import (
    LABELLED,
    UNLABELLED,
    Passes,
    TrainingOptions,
    fits_in_table,
    images_in_epoch,
)
from ruggedize.views import ViewMaker, ViewOptions

PETA = 1e15


class Work(NamedTuple):
    """The floating-point operations of a stage, in PFLOP: per epoch and before the first one.

    The epochs of a linear probe come first; they count as forward passes, since the backward pass
    ends at the head.
    """

    per_epoch: float
    once: float
    per_probe_epoch: float = 0.0
    probe_epochs: int = 0

    def after(self, epochs: int) -> float:
        """Return the operations of a training of this many epochs, in PFLOP."""
        probed = min(epochs, self.probe_epochs)
        return self.once + probed * self.per_probe_epoch + (epochs - probed) * self.per_epoch


NOTHING = Work(0.0, 0.0)


@dataclass(frozen=True)
class TrainingImages:
    """Counts and sizes of the data, which the arithmetic depends on besides the options."""

    num_images: int  # with labels
    num_classes: int
    image_size: int
    num_unlabelled: int = 0

    @classmethod
    def of(cls, data: Splits) -> "TrainingImages":
        """Return the counts and sizes of loaded data."""
        num_unlabelled = 0 if data.unlabelled is None else len(data.unlabelled)
        train = data.train
        return cls(len(train), len(train.classes), train.image_size, num_unlabelled)


def passes(name: str, options: TrainingOptions) -> Mapping[str, Passes]:
    """Return the passes of a stage per image of each source.

    Raises:
        UserError: its objective does not state them.
    """
    found = options.objective.passes
    if not found:
        raise UserError(
            f"{name}: the arithmetic of the objective {options.objective.kind} is not known;\n"
            "define passes in its options class"
        )
    return found


def with_looks_before(
    count: Passes, views: ViewOptions, images: TrainingImages, num_images: int
) -> Passes:
    """Return the passes of a source, with those for every flip and crop in `teacher_once`.

    Targets that are too large to be kept are computed in every step instead.
    """
    num_views = count.teacher_once
    if count.teacher_every_view:
        maker = ViewMaker(views, image_size=images.image_size, seed=0)
        num_views += count.teacher_every_view * maker.num_clean_views
    if not fits_in_table(num_images, num_views, images.num_classes):
        return Passes(count.own, teacher=1)
    return count._replace(teacher_once=num_views, teacher_every_view=0)


def work_of(recipe: Recipe, images: TrainingImages) -> dict[str, Work]:
    """Return the arithmetic of every stage of a recipe."""
    input_size = recipe.views.input_size(images.image_size)
    stages = recipe.trainings
    forward = {
        name: forward_flop(recipe.training_of(name).model, images.num_classes, input_size) / PETA
        for name in recipe.all_stages
    }
    sizes = {LABELLED: images.num_images, UNLABELLED: images.num_unlabelled}
    found = dict.fromkeys(recipe.all_stages, NOTHING)  # an interpolation only validates
    for name, options in stages.items():
        teacher = sum(forward[source] for source in teachers_in(recipe, name))
        seen = images_in_epoch(options, images.num_images, images.num_unlabelled)
        per_epoch, probe, once = 0.0, 0.0, 0.0
        for source, stated in passes(name, options).items():
            count = with_looks_before(stated, recipe.views, images, sizes[source])
            taught = seen[source] * count.teacher * teacher
            per_epoch += seen[source] * count.own * forward[name] + taught
            probe += seen[source] * count.probe * forward[name] + taught
            once += bool(seen[source]) * sizes[source] * count.teacher_once * teacher
        found[name] = Work(per_epoch, once, probe, options.probe_epochs)
    return found


def budget_in_pflop(budget: Budget, recipe: Recipe, images: TrainingImages) -> float:
    """Return a budget in PFLOP."""
    if budget.pflop is not None:
        return budget.pflop
    last = list(recipe.trainings.values())[-1]
    input_size = recipe.views.input_size(images.image_size)
    forward = forward_flop(last.model, images.num_classes, input_size)
    return (budget.forward_epochs or 0.0) * images.num_images * forward / PETA


def epochs_within(budget: Budget, recipe: Recipe, images: TrainingImages) -> int:
    """Return the epochs of the last stage that a budget leaves after all other stages.

    Raises:
        UserError: no epoch is left.
    """
    work = work_of(recipe, images)
    *others, last = recipe.trainings
    spent = sum(work[name].after(recipe.trainings[name].epochs) for name in others)
    probed = work[last].probe_epochs
    left = budget_in_pflop(budget, recipe, images) - spent - work[last].after(probed)
    epochs = probed + math.floor(left / work[last].per_epoch + 1e-9)
    if epochs <= probed:
        raise UserError(
            f"a budget of {budget} leaves no epoch for {last}: the other stages take {spent:.3g} "
            f"PFLOP, an epoch of {last} {work[last].per_epoch:.3g};\n"
            "raise the budget, or lower the epochs of the other stages"
        )
    return epochs
