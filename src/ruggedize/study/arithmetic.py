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
from ruggedize.train import LABELLED, UNLABELLED, Passes, TrainingOptions
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


def teacher_looks(count: Passes, views: ViewOptions, image_size: int) -> int:
    """Return the passes of the teacher per image before the first step."""
    if not count.teacher_every_view:
        return count.teacher_once
    views_of_image = ViewMaker(views, image_size=image_size, seed=0).num_clean_views
    return count.teacher_once + count.teacher_every_view * views_of_image


def work_of(recipe: Recipe, images: TrainingImages) -> dict[str, Work]:
    """Return the arithmetic of every stage of a recipe."""
    input_size = recipe.views.input_size(images.image_size)
    stages = recipe.trainings
    forward = {
        name: forward_flop(options.model, images.num_classes, input_size) / PETA
        for name, options in stages.items()
    }
    sizes = {LABELLED: images.num_images, UNLABELLED: images.num_unlabelled}
    found = dict.fromkeys(recipe.all_stages, NOTHING)  # an interpolation only validates
    for name, options in stages.items():
        teacher = sum(forward[source] for source in teachers_in(recipe, name))
        seen = options.images_in_epoch(images.num_images)
        per_epoch, probe, once = 0.0, 0.0, 0.0
        for source, count in passes(name, options).items():
            taught = seen[source] * count.teacher * teacher
            per_epoch += seen[source] * count.own * forward[name] + taught
            probe += seen[source] * count.probe * forward[name] + taught
            looks_before = teacher_looks(count, recipe.views, images.image_size)
            once += bool(seen[source]) * sizes[source] * looks_before * teacher
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
