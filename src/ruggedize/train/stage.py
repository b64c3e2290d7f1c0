"""One stage of a run: network, objective and data, and the facts that its result depends on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.core.progress import OnRows, Progress, no_metrics
from ruggedize.core.tables import flat, holds_custom
from ruggedize.data import DataDigest, ImageBatch, ImageSet
from ruggedize.kernels.types import Views
from ruggedize.models import Classifier, Precision
from ruggedize.train.epochs import steps_per_epoch
from ruggedize.train.objectives.objective import LABELLED, UNLABELLED, Objective
from ruggedize.train.optim import rate_at
from ruggedize.train.options import TrainingOptions
from ruggedize.views import Request, ViewMaker, ViewOptions


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that the result of a training depends on; images are represented by a digest."""

    name: str  # of the stage; prefix of its options in messages: teacher.batch_size
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

        Saved options are parsed by the current classes, so that options added since then have
        their defaults. Facts that were not recorded are not compared.

        Raises:
            KeyError, TypeError, ValueError: the saved facts are of an incompatible version.
        """
        theirs = {key: value for key, value in saved.items() if key != "data"}
        if not holds_custom(saved):  # custom classes cannot be parsed: their code is not saved
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
        """Return the name of a fact in messages."""
        return self.name if key == "options" else key


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One network, its objective and its images."""

    name: str  # such as "teacher" or "student"; names its folder and its random streams
    model: Classifier
    objective: Objective
    refresher: ViewMaker  # makes the views for the batch-norm refresh
    sources: Mapping[str, ImageSet]  # training images by source
    validation: ImageSet
    data: DataDigest | None = None  # of the files behind `train` and `validation`
    options: TrainingOptions
    views: ViewOptions
    seed: int
    precision: Precision  # resolved from the options' "auto"
    folder: Path
    parents: dict[str, str]  # hashes of the models that this one learns from
    start: dict[str, Any] | None = None  # where the initial weights are from; None: random
    accelerator: Accelerator
    progress: Progress
    on_rows: OnRows = no_metrics

    @property
    def train(self) -> ImageSet:
        """The labelled training images; by default, an epoch is one pass over them."""
        return self.sources[LABELLED]

    @property
    def refresh_request(self) -> Request:
        """The views that `refresh_views` returns."""
        return Request(self.refresher, self.objective.sees, 0)

    def refresh_views(self, batch: ImageBatch) -> Views:
        """Return views for the batch-norm refresh; they depend on the seed only."""
        make = self.refresher.clean if self.objective.sees == "clean" else self.refresher.noisy
        return make(batch.images, batch.index, 0)

    @property
    def ghosts_per_microbatch(self) -> int:
        """The number of ghost batches in a micro-batch of one process."""
        share = self.options.ghost_batches // self.accelerator.num_processes
        return max(1, share // self.options.microbatches)

    @property
    def num_images(self) -> int:
        """The number of labelled training images."""
        return len(self.train)

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps of an epoch; the last batch may be smaller.

        The last batch is dropped if it has fewer than two images per group: batch norm needs two.
        """
        return steps_per_epoch(self.options, self.num_images, self.num_groups)

    @property
    def num_groups(self) -> int:
        """The number of groups that a batch is split into; each process gets one or more."""
        return num_groups(self.options, self.accelerator)

    @property
    def min_images(self) -> int:
        """The smallest batch of one process: batch norm needs two images per group."""
        return 2 * self.num_groups // self.accelerator.num_processes

    @property
    def num_unlabelled(self) -> dict[str, int]:
        """The number of unlabelled images as a table, which is empty if none are used."""
        images = self.sources.get(UNLABELLED)
        return {} if images is None else {UNLABELLED: len(images)}

    @property
    def refresh_images(self) -> ImageSet:
        """The images for the batch-norm refresh: the largest source."""
        return max(self.sources.values(), key=len)

    @property
    def facts(self) -> Facts:
        """Everything that the result depends on."""
        return Facts(
            name=self.name,
            options=self.options,
            views=self.views,
            data=self.data,
            others={
                "seed": self.seed,
                "parents": self.parents,
                "start": self.start,
                "classes": list(self.model.classes),
                "images": {
                    "training": self.num_images,
                    "validation": len(self.validation),
                    "size": self.model.image_size,
                    **self.num_unlabelled,
                },
            },
        )

    def digest(self) -> Tensor:
        """Return a 63-bit hash of the facts and of the image indices and labels, int64 `[1]`.

        Paths are excluded, because each machine may have its own copy of the data.
        """
        facts = self.facts.to_json()
        facts["data"] = facts["data"] and {**facts["data"], "place": None}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for split in (*self.sources.values(), self.validation):
            digest.update(split.index.numpy().tobytes() + split.labels.numpy().tobytes())
        return torch.tensor([int.from_bytes(digest.digest()[:8]) >> 1])

    @property
    def num_steps(self) -> int:
        """The planned number of steps of the whole training, with the current world size."""
        return self.steps_per_epoch * self.options.epochs

    @property
    def num_probe_steps(self) -> int:
        """The planned number of steps in which only the head is trained."""
        return self.steps_per_epoch * self.options.probe_epochs

    def planned_step(self, epoch: int, step_in_epoch: int) -> int:
        """Return the position of a step in the whole plan; all arguments count from 0.

        It differs from the number of steps taken if the training was resumed with another world
        size, which may change the steps per epoch.
        """
        return epoch * self.steps_per_epoch + min(step_in_epoch, self.steps_per_epoch)

    def learning_rate(self, step: int, lr_scale: float) -> float:
        """Return the learning rate at a planned step, times the plateau's factor `lr_scale`."""
        probe = self.num_probe_steps
        if step < probe:
            return self.options.optimiser.lr * lr_scale
        rate = rate_at(self.options.schedule, step - probe, self.num_steps - probe)
        return self.options.optimiser.lr * rate * lr_scale


def num_groups(options: TrainingOptions, accelerator: Accelerator) -> int:
    """Return the number of groups that a batch is split into."""
    return max(options.ghost_batches, accelerator.num_processes)
