"""The interface of objectives, and the sums that they are made of."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float, Float32
from torch import Tensor, nn

from ruggedize.core.progress import Progress
from ruggedize.data import ImageBatch, ImageSet
from ruggedize.kernels.types import Labels
from ruggedize.train.objectives.options import CustomObjective, ObjectiveOptions
from ruggedize.views import ViewMaker

LABELLED, UNLABELLED = "labelled", "unlabelled"  # sources of images
IMAGES = "images"  # the count of all images of the source "labelled"
OBJECTIVES = "ruggedize.train.objectives"
Sees = Literal["clean", "noisy"]


@dataclass(frozen=True)
class Batch:
    """One process's share of a step, made on the CPU by an objective.

    Args:
        tensors: by source and name, `[n, ...]` with one row for each image of the source.
        counts: what the terms of the loss are divided by, after they are summed over the
            processes, by name. They may not depend on the model: they are needed before its
            gradient is computed.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    counts: Mapping[str, int]

    def __getitem__(self, source: str) -> Mapping[str, Tensor]:
        return self.tensors[source]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; the copy may still be under way."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Batch":
        """Return the batch in memory that a GPU reads while it computes."""
        return self._changed(Tensor.pin_memory)

    def split(self, num_microbatches: int, ghost_batches: int = 1) -> list["Batch"]:
        """Return micro-batches with the same ratio of sources; counts are those of the whole.

        The batch is divided as ghost batch norm divides it, and each micro-batch gets
        `ghost_batches` neighbouring parts, so that the same images are normalised together.
        """
        parts = {
            source: {
                name: grouped(tensor, num_microbatches, ghost_batches)
                for name, tensor in named.items()
            }
            for source, named in self.tensors.items()
        }
        return [
            replace(
                self,
                tensors={
                    source: {name: pieces[number] for name, pieces in named.items()}
                    for source, named in parts.items()
                },
            )
            for number in range(num_microbatches)
        ]

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        tensors = {
            source: {name: change(tensor) for name, tensor in named.items()}
            for source, named in self.tensors.items()
        }
        return replace(self, tensors=tensors)


def grouped(tensor: Tensor, num_groups: int, each: int) -> list[Tensor]:
    """Divide a tensor into equal parts (or one less), and join `each` neighbours to a group."""
    sizes = [len(part) for part in tensor.tensor_split(num_groups * each)]
    return list(tensor.split([sum(sizes[n : n + each]) for n in range(0, len(sizes), each)]))


def counts_of(part: ImageBatch) -> dict[str, int]:
    """Return the number of images, and of those that have a label."""
    return {IMAGES: len(part), LABELLED: int((part.labels >= 0).sum())}


class Term(NamedTuple):
    """A part of the loss, or a metric that is logged with it.

    Args:
        total: float32 scalar, summed over the images of the (micro-)batch.
        per: the name of the batch's count that the sum over all processes is divided by.
        weight: of the part in the loss; 0 for a metric that is only logged.
    """

    total: Tensor
    per: str
    weight: float = 1.0


@runtime_checkable
class Objective(Protocol):
    """Makes the batch of a step and its loss; the training loop knows neither views nor teachers.

    Attributes:
        sources: images a step takes from each source, relative to the batch size.
        sees: which view the network is mostly trained on; batch-norm statistics of averaged
            weights are recomputed on it.
    """

    @property
    def sources(self) -> Mapping[str, int]:
        """Images of a step by source, relative to the batch size."""
        ...

    @property
    def sees(self) -> Sees:
        """The view that the network is mostly trained on."""
        ...

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make a batch on the CPU; its draws depend on the epoch and the images' indices alone.

        Args:
            images: this process's share of the step, by source.
            epoch: counted from 0.
            step: the step of the whole plan, counted from 0.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return the terms of the loss by name; `model` maps uint8 views to logits."""
        ...


@runtime_checkable
class StatefulObjective(Objective, Protocol):
    """An objective that learns something of its own, saved with the state of the training."""

    def after_step(self, model: nn.Module, step: int) -> None:
        """Update after the optimiser's step; `step` counts from 1."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return what must be saved; equal in all processes."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an objective may use.

    Args:
        name: of the stage.
        model: the classifier that is trained.
        maker: makes the views of this stage.
        views: which view the stage asks for; None: the objective's own choice.
        teachers: frozen classifiers in eval mode on the device, by name of their stage.
        train: the labelled training images.
        precision: what the networks compute in.
        accelerator: the processes and the device.
        progress: called after every unit of a longer preparation.
    """

    name: str
    model: nn.Module
    maker: ViewMaker
    views: Sees | None
    teachers: Mapping[str, nn.Module]
    train: ImageSet
    precision: Literal["bf16", "fp32"]
    accelerator: Accelerator
    progress: Progress


def make_objective(options: ObjectiveOptions, context: Context) -> Objective:
    """Return the objective that the options describe: a module of `objectives`, or one's own."""
    if isinstance(options, CustomObjective):
        return options.make(context)
    module = importlib.import_module(f"{OBJECTIVES}.{options.kind.replace('-', '_')}")
    return module.make(options, context)


Logits = Float[Tensor, "n k"]


def cross_entropy_sum(logits: Logits, labels: Labels, smoothing: float) -> Float32[Tensor, ""]:
    """Return the cross entropy summed over the labelled images; -1 is no label."""
    return F.cross_entropy(
        logits, labels, reduction="sum", ignore_index=-1, label_smoothing=smoothing
    )


def softened_kl(student: Logits, teacher: Logits, temperature: float) -> Float32[Tensor, ""]:
    """Return KL(softmax(teacher / T) || softmax(student / T)) summed over the batch."""
    return F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )


def jensen_shannon_sum(views: Float[Tensor, "n v k"]) -> Float32[Tensor, ""]:
    """Return the Jensen-Shannon divergence of the predictions for v views, summed over images.

    Source: Hendrycks et al. 2020, "AugMix", equation 1: the mean KL divergence of each view's
    prediction from the mean prediction M, whose logarithm is taken of at least 1e-7.
    """
    log_probabilities = F.log_softmax(views, dim=2)
    probabilities = log_probabilities.exp()
    log_mean = probabilities.mean(1, keepdim=True).clamp(1e-7, 1).log()
    return (probabilities * (log_probabilities - log_mean)).sum() / views.shape[1]


def entropy_sum(logits: Logits) -> Float32[Tensor, ""]:
    """Return the entropy of the predictions (temperature 1) summed over the batch."""
    log_probabilities = F.log_softmax(logits, dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum()


@torch.no_grad()
def student_metrics(logits: Logits, labels: Labels) -> dict[str, Term]:
    """Return the accuracy and the entropy of the network that is trained."""
    correct = (logits.argmax(1) == labels).sum().float()
    return {
        "accuracy": Term(correct, LABELLED, 0.0),
        "student_entropy": Term(entropy_sum(logits), IMAGES, 0.0),
    }


@torch.no_grad()
def agreement_metrics(student: Logits, teacher: Logits) -> dict[str, Term]:
    """Return the teacher's entropy and how often both agree: a broken teacher shows here."""
    same = (student.argmax(1) == teacher.argmax(1)).sum().float()
    return {
        "teacher_entropy": Term(entropy_sum(teacher), IMAGES, 0.0),
        "agreement": Term(same, IMAGES, 0.0),
    }
