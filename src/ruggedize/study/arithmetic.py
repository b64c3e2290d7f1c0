"""The floating-point operations of trainings, and the epochs that a budget pays for."""

import math
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
    ConsistencyOptions,
    FixMatchOptions,
    JsdOptions,
    MeanTeacherOptions,
    NoisyStudentOptions,
    SupervisedOptions,
    TrainingOptions,
)
from ruggedize.views import ViewMaker, ViewOptions

PETA = 1e15
STEP = 3  # forward passes that a training step counts as: one forward, about two backward
JSD_VIEWS = 3  # clean, noisy, noisy
SOURCES = (LABELLED, UNLABELLED)


class Passes(NamedTuple):
    """Forward passes per image, or their equivalent: `own` and `teacher` each time it is seen.

    `teacher_once` are passes of the teacher before the first step.
    """

    own: int
    teacher: int = 0
    teacher_once: int = 0


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

    def seen(self, options: TrainingOptions) -> dict[str, int]:
        """Return how many images of each source a stage sees in an epoch."""
        steps, labelled = options.steps_per_epoch, self.num_images
        if steps is not None:
            labelled = steps * options.batch_size
        return {LABELLED: labelled, UNLABELLED: labelled * options.objective.unlabelled_ratio}


def passes(
    name: str, options: TrainingOptions, views: ViewOptions, image_size: int
) -> dict[str, Passes]:
    """Return the passes of a stage per image of each source.

    Raises:
        UserError: the cost of its objective is not known.
    """
    objective = options.objective
    if isinstance(objective, SupervisedOptions):
        return {LABELLED: Passes(STEP)}
    if isinstance(objective, MeanTeacherOptions):
        return dict.fromkeys(SOURCES, Passes(STEP + 1))  # its teacher is its own average
    if isinstance(objective, JsdOptions):
        return dict.fromkeys(SOURCES, Passes(STEP * JSD_VIEWS))
    if isinstance(objective, FixMatchOptions):  # gradients of both views are computed together
        return {LABELLED: Passes(STEP), UNLABELLED: Passes(2 * STEP)}
    if isinstance(objective, NoisyStudentOptions):
        return {LABELLED: Passes(STEP), UNLABELLED: Passes(STEP, teacher_once=1)}
    if not isinstance(objective, ConsistencyOptions):
        raise UserError(
            f"{name}: the arithmetic of the objective {objective.kind} is not known;\n"
            "compare objectives of ruggedize, or write a script"
        )
    if objective.consistency_weight == 0:
        return dict.fromkeys(SOURCES, Passes(STEP))
    if objective.clean_view == "test":
        return dict.fromkeys(SOURCES, Passes(STEP, teacher_once=1))
    if objective.cached_targets:
        views_of_image = ViewMaker(views, image_size=image_size, seed=0).num_clean_views
        return dict.fromkeys(SOURCES, Passes(STEP, teacher_once=views_of_image))
    return dict.fromkeys(SOURCES, Passes(STEP, teacher=1))


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
        seen, per_epoch, probe, once = images.seen(options), 0.0, 0.0, 0.0
        for source, count in passes(name, options, recipe.views, images.image_size).items():
            taught = seen[source] * count.teacher * teacher
            per_epoch += seen[source] * count.own * forward[name] + taught
            looks = count.own // STEP + count.own % STEP  # of the network, and of its own average
            probe += seen[source] * looks * forward[name] + taught
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
