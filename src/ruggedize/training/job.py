"""A training to be done: what the loop is handed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.data import DataDigest, ImageBatch, ImageSet
from ruggedize.images.types import Views
from ruggedize.models import Classifier
from ruggedize.models.precision import Precision
from ruggedize.runs import Progress, UserError
from ruggedize.training.batch import LABELLED
from ruggedize.training.facts import Facts
from ruggedize.training.objective import Objective
from ruggedize.training.options import TrainingOptions
from ruggedize.training.schedules import rate_at
from ruggedize.views import ViewMaker, ViewOptions


@dataclass(frozen=True, kw_only=True)
class Job:
    """One network, its objective, and where its images come from."""

    name: str  # teacher, student: its folder and the purpose of its random draws
    model: Classifier
    objective: Objective
    refresher: ViewMaker  # of the views that batch norm is refreshed on
    sources: Mapping[str, ImageSet]  # the training images that the objective asks for
    validation: ImageSet
    data: DataDigest | None = None  # of what `train` and `validation` were read from
    options: TrainingOptions
    views: ViewOptions
    seed: int
    precision: Precision  # resolved: the options may say auto
    folder: Path
    parents: dict[str, str]  # hashes of the models that this one learns from
    accelerator: Accelerator
    progress: Progress

    @property
    def train(self) -> ImageSet:
        """The labelled training images; their number makes an epoch."""
        return self.sources[LABELLED]

    def refresh_views(self, part: ImageBatch) -> Views:
        """Return the views that batch norm is refreshed on, fixed by the seed."""
        make = self.refresher.clean if self.objective.sees == "clean" else self.refresher.noisy
        return make(part.images, part.index, 0)

    @property
    def ghosts_each(self) -> int:
        """The parts that ghost batch norm divides a micro-batch into."""
        share = self.options.ghost_batches // self.accelerator.num_processes
        return max(1, share // self.options.microbatches)

    @property
    def num_images(self) -> int:
        """Count the images of the training split."""
        return len(self.train)

    @property
    def steps_per_epoch(self) -> int:
        """Count the steps of an epoch; the last batch may be smaller.

        A last batch that leaves a part fewer than two images is left out: batch norm needs two.
        """
        return steps_per_epoch(self.num_images, self.options, self.accelerator)

    @property
    def num_parts(self) -> int:
        """Count the parts that a batch is divided into: a process takes one or several."""
        return num_parts(self.options, self.accelerator)

    @property
    def fewest_images(self) -> int:
        """Count the images that a pass needs: batch norm two in each of its parts."""
        return 2 * self.num_parts // self.accelerator.num_processes

    @property
    def facts(self) -> Facts:
        """Return everything that decides the result, except for the images themselves."""
        return Facts(
            name=self.name,
            options=self.options,
            views=self.views,
            data=self.data,
            others={
                "seed": self.seed,
                "parents": self.parents,
                "classes": list(self.model.classes),
                "images": {
                    "training": self.num_images,
                    "validation": len(self.validation),
                    "size": self.model.image_size,
                },
            },
        )

    def digest(self) -> Tensor:
        """Return 63 bits that stand for the facts and for which images there are, int64 `[1]`."""
        digest = hashlib.sha256(json.dumps(self.facts.to_json(), sort_keys=True).encode())
        for part in (self.train, self.validation):
            digest.update(part.index.numpy().tobytes() + part.labels.numpy().tobytes())
        return torch.tensor([int.from_bytes(digest.digest()[:8]) >> 1])

    @property
    def num_steps(self) -> int:
        """Count the steps of the whole training, as planned with the present processes."""
        return self.steps_per_epoch * self.options.epochs

    def planned_step(self, epoch: int, step_in_epoch: int) -> int:
        """Return the number of a step in the whole plan, all counted from 0.

        It follows from the position alone. The steps taken so far are another count where the
        training was resumed with another number of processes, which may change steps per epoch.
        """
        return epoch * self.steps_per_epoch + min(step_in_epoch, self.steps_per_epoch)

    def learning_rate(self, step: int, rate_share: float) -> float:
        """Return the rate of a planned step, of which a plateau has left `rate_share`."""
        rate = rate_at(self.options.schedule, step, self.num_steps)
        return self.options.optimiser.lr * rate * rate_share


def num_parts(options: TrainingOptions, accelerator: Accelerator) -> int:
    """Count the parts that a batch is divided into."""
    return max(options.ghost_batches, accelerator.num_processes)


def steps_per_epoch(num_images: int, options: TrainingOptions, accelerator: Accelerator) -> int:
    """Count the steps of an epoch, without a last batch that is too small for batch norm."""
    whole, rest = divmod(num_images, options.batch_size)
    return whole + (rest >= 2 * num_parts(options, accelerator))


def refuse_untrainable(
    name: str, options: TrainingOptions, num_images: int, accelerator: Accelerator
) -> None:
    """Refuse batches too small to train on, and an average that would never begin."""
    fewest = 2 * num_parts(options, accelerator)
    if min(num_images, options.batch_size) < fewest:
        raise UserError(
            f"{name}: a step needs {fewest} images or more, two for each process and ghost batch; "
            f"there are {num_images} training images, and {name}.batch_size = "
            f"{options.batch_size};\ngive more of them, or fewer processes"
        )
    averaging = options.averaging
    if averaging.kind == "swa":
        num_steps = options.epochs * steps_per_epoch(num_images, options, accelerator)
        remaining = num_steps - int(averaging.start * num_steps)
        if remaining < averaging.every:
            raise UserError(
                f"{name}: no snapshot falls into the {remaining} steps after averaging.start; "
                f"take averaging.every = {max(1, remaining // 10)} or train longer"
            )
