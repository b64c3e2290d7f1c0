"""A training to be done: what the loop is handed."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.data import ImageSet
from ruggedize.images.types import Views
from ruggedize.models import Classifier
from ruggedize.models.precision import Precision
from ruggedize.runs import Progress, UserError
from ruggedize.training.objectives import Objective, Pair
from ruggedize.training.options import TrainingOptions
from ruggedize.training.schedules import rate_at
from ruggedize.views import ViewOptions

MakePair = Callable[[ImageSet, int], Pair]  # (some training images, epoch)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One network, its objective, and where its images come from."""

    name: str  # teacher, student: its folder and the purpose of its random draws
    model: Classifier
    objective: Objective
    make_pair: MakePair
    refresh_views: Callable[[ImageSet], Views]  # views for batch norm, fixed by the seed
    train: ImageSet
    validation: ImageSet
    options: TrainingOptions
    views: ViewOptions
    seed: int
    precision: Precision  # resolved: the options may say auto
    folder: Path
    parents: dict[str, str]  # hashes of the models that this one learns from
    accelerator: Accelerator
    progress: Progress

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
    def fingerprint(self) -> str:
        """Give a digest of all that decides the result, but for the images themselves."""
        asked = {
            "options": self.options.model_dump(mode="json"),
            "views": self.views.model_dump(mode="json"),
            "seed": self.seed,
            "parents": self.parents,
            "classes": self.model.classes,
            "images": [self.num_images, len(self.validation), self.model.image_size],
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def digest(self) -> Tensor:
        """Give 63 bits that stand for the options and for which images there are, int64 `[1]`."""
        digest = hashlib.sha256(self.fingerprint.encode())
        for part in (self.train, self.validation):
            digest.update(part.index.numpy().tobytes() + part.labels.numpy().tobytes())
        return torch.tensor([int.from_bytes(digest.digest()[:8]) >> 1])

    @property
    def num_steps(self) -> int:
        """Count the steps of the whole training."""
        return self.steps_per_epoch * self.options.epochs

    def learning_rate(self, step: int, rate_share: float) -> float:
        """Give the rate of a step, counted from 0, of which a plateau has left `rate_share`."""
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
