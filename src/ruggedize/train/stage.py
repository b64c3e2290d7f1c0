"""One stage of a run: what is trained on what, and what its result depends on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.core.progress import Progress
from ruggedize.core.tables import flat, holds_custom
from ruggedize.data import DataDigest, ImageBatch, ImageSet
from ruggedize.kernels.types import Views
from ruggedize.models import Classifier, Precision
from ruggedize.train.objectives.objective import LABELLED, Objective
from ruggedize.train.optim import rate_at
from ruggedize.train.options import TrainingOptions
from ruggedize.views import ViewMaker, ViewOptions


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a training depends on; the images themselves by their digest."""

    name: str  # of the training; its options are named after it: teacher.batch_size
    options: TrainingOptions
    views: ViewOptions
    data: DataDigest | None
    others: dict[str, Any]  # JSON: seed, parents, classes, ...

    def to_json(self) -> dict[str, Any]:
        """Return all facts as JSON."""
        return {
            "options": self.options.model_dump(mode="json"),
            "views": self.views.model_dump(mode="json"),
            "data": self.data and self.data.model_dump(mode="json"),
            **self.others,
        }

    def differing(self, saved: dict[str, Any]) -> list[str]:
        """Return the names of the facts in which a saved training differs from this one.

        Saved options are read through today's types, so that an option added since has its
        default. A fact that was not recorded at the time is not compared.

        Raises:
            KeyError, TypeError, ValueError: these facts are of a version that is not understood.
        """
        theirs = {key: value for key, value in saved.items() if key != "data"}
        if not holds_custom(saved):  # whose code is not in the file
            options = type(self.options).model_validate(saved["options"])
            views = ViewOptions.model_validate(saved["views"])
            known = Facts(name="", options=options, views=views, data=None, others={}).to_json()
            theirs |= {key: known[key] for key in ("options", "views")}
        ours = {key: value for key, value in self.to_json().items() if key in theirs}
        left, right = (
            flat({self.named(key): facts[key] for key in facts}) for facts in (ours, theirs)
        )
        return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))

    def check_data(self, saved: dict[str, Any]) -> None:
        """Raise UserError if the data has changed since these facts were saved."""
        then = saved.get("data")
        if then and self.data:
            DataDigest.model_validate(then).check_unchanged(self.data, f"the {self.name}")

    def named(self, key: str) -> str:
        """Return what a user calls this fact."""
        return self.name if key == "options" else key


@dataclass(frozen=True, kw_only=True)
class Stage:
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
    def num_groups(self) -> int:
        """Count the parts that a batch is divided into: a process takes one or several."""
        return num_groups(self.options, self.accelerator)

    @property
    def fewest_images(self) -> int:
        """Count the images that a pass needs: batch norm two in each of its parts."""
        return 2 * self.num_groups // self.accelerator.num_processes

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
        """Return 63 bits that stand for the facts and for which images there are, int64 `[1]`.

        Where the data lies does not count: it may lie on each machine's own disk.
        """
        facts = self.facts.to_json()
        facts["data"] = facts["data"] and facts["data"]["parts"]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
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

    def learning_rate(self, step: int, lr_scale: float) -> float:
        """Return the rate of a planned step, of which a plateau has left `lr_scale`."""
        rate = rate_at(self.options.schedule, step, self.num_steps)
        return self.options.optimiser.lr * rate * lr_scale


def num_groups(options: TrainingOptions, accelerator: Accelerator) -> int:
    """Count the parts that a batch is divided into."""
    return max(options.ghost_batches, accelerator.num_processes)


def steps_per_epoch(num_images: int, options: TrainingOptions, accelerator: Accelerator) -> int:
    """Count the steps of an epoch, without a last batch that is too small for batch norm."""
    whole, rest = divmod(num_images, options.batch_size)
    return whole + (rest >= 2 * num_groups(options, accelerator))
