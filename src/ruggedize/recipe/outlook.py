"""Estimate of the time that a run still takes, from a timed epoch. Does not import torch."""

import logging
import time
from typing import NamedTuple

from ruggedize.core.progress import EpochTask, Progress, time_left
from ruggedize.recipe.recipe import Recipe
from ruggedize.train import (
    REFRESH_IMAGES,
    STEP_PASSES,
    InterpolationOptions,
    Passes,
    TrainingOptions,
    images_in_epoch,
)

CORRUPTIONS = 19
INTERPOLATION_CELLS = 1 + 4 * 5  # clean, and the extra corruptions at all severities
log = logging.getLogger(__name__)


class Counts(NamedTuple):
    """Images of each split."""

    train: int
    validation: int
    test: int
    unlabelled: int = 0


class StagePasses(NamedTuple):
    """Forward passes of a stage, or their equivalent in time."""

    steps: int  # in one epoch
    other: int  # after the steps of one epoch: batch-norm refresh and validation
    epochs: int
    probe_epochs: int = 0  # first epochs, which train only the head
    probe_steps: int = 0  # instead of `steps`, in each of these

    @property
    def all_steps(self) -> int:
        """Passes of the steps of all epochs."""
        return sum(map(self.steps_in, range(1, self.epochs + 1)))

    @property
    def total(self) -> int:
        """Passes of the whole stage."""
        return self.all_steps + self.epochs * self.other

    def steps_in(self, epoch: int) -> int:
        """Passes of the steps of an epoch, counted from 1."""
        return self.probe_steps if epoch <= self.probe_epochs else self.steps


def passes_of(recipe: Recipe, counts: Counts) -> dict[str, StagePasses]:
    """Return the passes of every stage by name, and those of the assessment as "assessment".

    A teacher's passes count as much as the student's. Passes before the first step are not counted.
    """
    found: dict[str, StagePasses] = {}
    for name, options in recipe.all_stages.items():
        if isinstance(options, InterpolationOptions):
            images = min(options.num_images, counts.validation) * INTERPOLATION_CELLS
            images += min(REFRESH_IMAGES, counts.train)
            found[name] = StagePasses(0, len(options.alphas) * images, 1)
            continue
        found[name] = training_passes(options, counts)
    assess = recipe.assess
    kinds = CORRUPTIONS if assess.corruptions is None else len(assess.corruptions)
    images = min(counts.test, assess.num_images or counts.test)
    cells = 1 + kinds * len(assess.severities)
    return found | {"assessment": StagePasses(0, len(recipe.all_stages) * cells * images, 1)}


def training_passes(options: TrainingOptions, counts: Counts) -> StagePasses:
    """Return the passes of a training."""
    seen = images_in_epoch(options, counts.train, counts.unlabelled)
    each = options.objective.passes or dict.fromkeys(seen, Passes(STEP_PASSES, teacher=1))
    taught = len(options.teachers) * sum(seen[source] * each[source].teacher for source in each)
    steps = taught + sum(seen[source] * each[source].own for source in each)
    probe = taught + sum(seen[source] * each[source].probe for source in each)
    other = counts.validation
    if options.averaging.kind != "none":
        largest = max(counts.train, counts.unlabelled if options.objective.unlabelled_ratio else 0)
        other += 2 * min(REFRESH_IMAGES, largest) + counts.validation
    return StagePasses(
        steps,
        other,
        options.epochs,
        options.probe_epochs,
        probe if options.probe_epochs else 0,
    )


class Outlook:
    """Progress callback that logs the time left for the run after every stage's first epoch.

    It assumes that a pass takes the same time in all later stages; generating corruptions is not
    included.
    """

    def __init__(self, progress: Progress, passes: dict[str, StagePasses]) -> None:
        self.progress = progress
        self.passes = passes
        self.timed = ""  # stage whose epoch has been timed last
        self.task = ""
        self.first = (0, 0.0)  # step and time of the first update of an epoch

    def __call__(self, task: str, done: int, total: int) -> None:
        """Forward the progress, and time the first epoch of a stage."""
        self.progress(task, done, total)
        if not isinstance(task, EpochTask):
            return
        now = time.monotonic()
        if task != self.task:
            self.task, self.first = task, (done, now)
        stage, _, numbers = task.rpartition(" epoch ")
        if done < total or stage == self.timed or done == self.first[0]:
            return
        self.timed = stage
        per_step = (now - self.first[1]) / (done - self.first[0])
        self.announce(stage, int(numbers.partition("/")[0]), per_step * total)

    def announce(self, stage: str, epoch: int, seconds: float) -> None:
        """Log the time left for trainings and assessment after the steps of an epoch."""
        names = list(self.passes)
        ahead = names[names.index(stage) + 1 :]
        passes = self.passes[stage]
        rate = seconds / passes.steps_in(epoch)
        done = sum(map(passes.steps_in, range(1, epoch + 1))) + (epoch - 1) * passes.other
        left = passes.total - done
        trainings = left + sum(self.passes[name].total for name in ahead if name != "assessment")
        assessment = self.passes["assessment"].total
        log.info(
            "the whole run: %s, of which %.0f %% for the assessment (without the time to generate "
            "corruptions); estimated from the steps of %s epoch %d",
            time_left(rate * (trainings + assessment)),
            100 * assessment / max(1, trainings + assessment),
            *(stage, epoch),
        )
